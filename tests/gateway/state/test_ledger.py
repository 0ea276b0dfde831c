"""The ledger: what workers say goes in once, and what is read as closed never changes again."""

import random
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from gateway.increments import Bad, CellIncrement, CellKey, Counts, Increment
from gateway.state import units
from gateway.state.bookings import Booking, Bookings
from gateway.state.closing import LIMIT_S, QUIET_S, Reporter, closed_until
from gateway.state.ledger import Ledger, Offence
from gateway.state.members import Member, Members
from gateway.state.retention import KEPT_S, WHOLE_KEPT_S, prune
from strategies.evidence.epochs import ArmCounts, Epoch, Moments

NAME = "digits@1"
SHARES = '{"new":10000,"old":990000}'
SPLIT = {"new": 10_000, "old": 990_000}
EPOCH = 1000
START_S = 10.0 * EPOCH
TABLES = ("experiment", "tally", "lost", "first_bad", "met")


def cell(arm: str = "new", epoch: int = EPOCH, step: int = 0, shares: str = SHARES, name: str = NAME, **counts: object):
    return CellIncrement(CellKey(name, step, shares, epoch, arm), Increment(**counts))


def counts(*cells: CellIncrement, open_from: int = EPOCH + 1, **more: object) -> Counts:
    return Counts(open_from, cells=list(cells), **more)


def gateway(name: str = "a", open_from: int = EPOCH + 1, seen_at: float = START_S + 13.0, holding: int = 0) -> Reporter:
    return Reporter(name, open_from, {NAME: holding} if holding else {}, seen_at)


@pytest.fixture
def book(engine: Engine):
    """Book what workers say: (source, seq, counts) each."""

    def book(*said: tuple[str, int, Counts], me: Reporter | None = None, lost: dict[str, str] | None = None) -> None:
        Bookings(engine).book([Booking(*each) for each in said], me or gateway(), lost or {})

    return book


@pytest.fixture
def ledger(engine: Engine) -> Iterator[Ledger]:
    return Ledger(engine)


def test_what_a_worker_counts_is_read_as_an_epoch(book, ledger):
    """Counted in a worker, sent up, stored, read."""
    bad = [Bad("error_rate", 7, "event-1", START_S + 1), Bad("error_rate", 8, "event-2", START_S + 2)]
    new = cell(requests_n=9, runs_n=4, withheld_n=1, units=[7, 8], bad=bad, events={"latency_p50": 5})
    old = cell("old", requests_n=800, units_n=800, runs_n=800, latency_n={3: 800}, latency_s=8.0, latency_s2=0.09)
    book(("w", 1, counts(new, old)))
    (epoch,) = ledger.epochs(NAME)
    assert Epoch(EPOCH, 0, SPLIT, epoch.arms) == epoch
    assert ArmCounts(9, 2, 4, 1, {"latency_p50": 5, "error_rate": 2}) == epoch.arms["new"]
    assert (800, {"latency_s": Moments(800, 8.0, 0.09)}) == ((o := epoch.arms["old"]).units_n, o.values)
    assert (Offence("event-1", START_S + 1), Offence("event-2", START_S + 2)) == ledger.offending(
        NAME, "new", "error_rate"
    )


def test_measured_values_are_read_beside_durations(book, ledger):
    book(("w", 1, counts(cell(requests_n=2, latency_n={3: 2}, latency_s=0.5, values={"spent": (2, 3.0, 5.0)}))))
    (epoch,) = ledger.epochs(NAME)
    assert {"latency_s": Moments(2, 0.5, 0.0), "spent": Moments(2, 3.0, 5.0)} == epoch.arms["new"].values


def test_what_was_booked_is_not_booked_again(book, ledger):
    """The control process died after it had stored and before it could say so."""
    for _ in range(2):
        book(("w", 1, counts(cell(requests_n=5))))
    book(("w", 1, counts(cell(requests_n=5))), ("w", 2, counts(cell(requests_n=2))))
    assert [] == [e for e in ledger.epochs(NAME) if e.arms["new"].requests_n != 5]


def test_messages_of_one_call_are_added_up(book, ledger):
    one, two, three = (counts(cell(requests_n=n)) for n in (5, 2, 1))
    book(("w", 1, one), ("w", 2, two), ("v", 1, three))
    assert [8] == [epoch.arms["new"].requests_n for epoch in ledger.epochs(NAME)]


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_the_same_in_whatever_order_they_come(engine, book, ledger, seed):
    """Three gateways with two workers each, all mixed up: the same epochs, and a unit's error once."""
    rng = random.Random(seed)
    said = [
        (
            owner,
            f"{owner}{worker}",
            counts(cell(requests_n=n + 1, units=[n % 3], bad=[Bad("error_rate", n % 2, "e", 1.0)])),
        )
        for n, (owner, worker) in enumerate((owner, worker) for owner in "abc" for worker in "xy")
    ]
    rng.shuffle(said)
    for owner, source, what in said:
        book((source, 1, what), me=gateway(owner, open_from=EPOCH, seen_at=START_S + 5))
    for owner in "abc":
        book(me=gateway(owner))
    (epoch,) = ledger.epochs(NAME)
    assert (21, 3, {"error_rate": 2}) == ((new := epoch.arms["new"]).requests_n, new.units_n, new.events)


def test_an_epoch_is_closed_when_every_gateway_is_past_it(book, ledger):
    book(me=gateway("b", open_from=EPOCH, seen_at=START_S + 9))
    book(("w", 1, counts(cell(requests_n=1))), me=gateway("a"))
    assert () == ledger.epochs(NAME)
    book(me=gateway("b"))
    assert [EPOCH] == [epoch.number for epoch in ledger.epochs(NAME)]


def test_a_gateway_holds_back_only_the_experiments_that_wait_for_answers(book, ledger):
    """One route whose candidate hangs does not keep the others from being judged."""
    other = cell(requests_n=1, name="other@1")
    book(("w", 1, counts(cell(requests_n=1), other)), me=gateway(holding=EPOCH))
    assert ([], [EPOCH]) == ([*ledger.epochs(NAME)], [epoch.number for epoch in ledger.epochs("other@1")])


def test_what_is_closed_never_changes_and_what_comes_late_is_told(book, ledger):
    """A gateway that was cut off comes back with old counts: they are kept, and no verdict changes."""
    book(("w", 1, counts(cell(requests_n=5))))
    before = ledger.epochs(NAME)
    book(("v", 1, counts(cell(requests_n=3, bad=[Bad("error_rate", 1, "e", 1.0)]))), me=gateway("b"))
    assert (before, 3) == (ledger.epochs(NAME), ledger.late_n(NAME))


def test_epochs_are_read_from_where_the_reader_stands(book, ledger):
    said = counts(*(cell(epoch=EPOCH + n, requests_n=1) for n in range(3)))
    book(("w", 1, said), me=gateway(open_from=EPOCH + 3, seen_at=START_S + 33))
    assert [EPOCH + 1, EPOCH + 2] == [epoch.number for epoch in ledger.epochs(NAME, after=EPOCH)]
    assert (EPOCH + 2, 0) == (ledger.closed(NAME), ledger.closed("nobody@1"))


def test_a_move_within_ten_seconds_makes_two_epochs_of_one_number(book, ledger):
    """The null hypothesis is the share in force when a request was assigned."""
    later = cell(step=1, shares='{"new":50000,"old":950000}', requests_n=2)
    book(("w", 1, counts(cell(requests_n=1), later)))
    assert [(EPOCH, 0, 10_000), (EPOCH, 1, 50_000)] == [
        (epoch.number, epoch.step, epoch.shares_ppm["new"]) for epoch in ledger.epochs(NAME)
    ]


def test_a_worker_that_died_leaves_a_mark(book, ledger):
    book(("w", 1, counts(cell(requests_n=1))), me=gateway(open_from=EPOCH, seen_at=START_S + 5), lost={NAME: "killed"})
    book(me=gateway())
    assert [("a: killed",)] == [epoch.lost for epoch in ledger.epochs(NAME)]


def test_requests_that_could_not_be_counted_leave_a_mark(book, ledger):
    book(("w", 1, counts(cell(requests_n=1), lost={NAME: [EPOCH]})))
    assert [("a: requests could not be counted",)] == [epoch.lost for epoch in ledger.epochs(NAME)]


def test_a_gateway_that_went_without_a_word_is_not_waited_for_and_leaves_a_mark(engine, book, ledger):
    """Its machine has burnt down. Half a minute later the others go on, and know that something is missing."""
    book(me=gateway("b", open_from=EPOCH, seen_at=START_S))
    now = START_S + QUIET_S + 1
    book(("w", 1, counts(cell(requests_n=1))), me=gateway("a", seen_at=now))
    assert [("b: it has gone without a word",)] == [epoch.lost for epoch in ledger.epochs(NAME)]


def test_a_gateway_whose_heart_beats_is_waited_for(engine, book, ledger):
    """It has nothing to count, or cannot say so at the moment: it is there."""
    book(me=gateway("b", open_from=EPOCH, seen_at=START_S))
    now = START_S + QUIET_S + 1
    Members(engine).beat(Member("b", 1, "", now))
    book(("w", 1, counts(cell(requests_n=1))), me=gateway("a", seen_at=now))
    assert () == ledger.epochs(NAME)


def test_nobody_is_waited_for_longer_than_the_limit(engine, book, ledger):
    book(me=gateway("b", open_from=EPOCH, seen_at=START_S))
    now = START_S + 10 + LIMIT_S + 1
    Members(engine).beat(Member("b", 1, "", now))
    book(("w", 1, counts(cell(requests_n=1))), me=gateway("a", open_from=EPOCH + 7, seen_at=now))
    assert [("b: it is behind",)] == [epoch.lost for epoch in ledger.epochs(NAME)]


def test_a_gateway_that_leaves_is_not_waited_for(engine, book, ledger):
    book(me=gateway("b", open_from=EPOCH, seen_at=START_S))
    Bookings(engine).leave("b")
    book(("w", 1, counts(cell(requests_n=1))))
    assert [()] == [epoch.lost for epoch in ledger.epochs(NAME)]


@pytest.mark.parametrize(
    ("reporters", "now", "expected"),
    [
        ((), 100.0, 8),  # nobody is there to ask: what is over by the clock
        ((), 101.9, 8),
        ((), 102.0, 9),  # its end and two seconds
        ((Reporter("a", 10, {}, 0.0),), 102.0, 9),
        ((Reporter("a", 9, {}, 0.0),), 102.0, 8),
        ((Reporter("a", 12, {NAME: 9}, 0.0), Reporter("b", 12, {}, 0.0)), 125.0, 8),
        ((Reporter("a", 3, {}, 0.0),), 175.0, 10),  # a minute after its end nobody is waited for
    ],
)
def test_when_an_epoch_is_over_for_all(reporters, now, expected):
    assert expected == closed_until(NAME, reporters, now)


def test_units_that_another_gateway_has_met_are_not_met_again(book, ledger):
    book(("w", 1, counts(cell(requests_n=2, units=[1, 2]))), me=gateway("a", open_from=EPOCH, seen_at=START_S))
    book(("v", 1, counts(cell(requests_n=2, units=[2, 3]))), me=gateway("b"))
    book(me=gateway("a"))
    assert [3] == [epoch.arms["new"].units_n for epoch in ledger.epochs(NAME)]


def test_units_beyond_the_bound_are_thinned(book, ledger, engine, monkeypatch):
    """A table of units never outgrows its bound, and goes on counting those that stand for the rest."""
    monkeypatch.setattr(units, "UNITS_LIMIT", 100)
    for n in range(4):
        some = [*range(200 * n, 200 * (n + 1))]
        book((f"w{n}", 1, counts(cell(requests_n=200, units=some))), me=gateway(open_from=EPOCH, seen_at=START_S))
    book(me=gateway())
    (epoch,) = ledger.epochs(NAME)
    assert 200 < epoch.arms["new"].units_n < 500
    with engine.connect() as connection:
        assert 100 >= len(connection.exec_driver_sql("SELECT unit FROM met").all())


def test_bad_units_beyond_the_bound_are_counted_each_time_from_the_next_epoch_on(book, ledger, monkeypatch):
    """Whoever judges is told from where on errors may be of one and the same unit."""
    monkeypatch.setattr(units, "BAD_LIMIT", 3)
    book(("w", 1, counts(cell(requests_n=9))))
    bad = [Bad("error_rate", n, f"e{n}", 1.0) for n in range(5)]
    for n in range(2):
        what = counts(cell(epoch=EPOCH + 1, requests_n=5, bad=bad))
        book((f"v{n}", 1, what), me=gateway(open_from=EPOCH + 1, seen_at=START_S + 14))
    book(me=gateway(open_from=EPOCH + 2, seen_at=START_S + 23))
    first, second = ledger.epochs(NAME)
    assert ((), ("error_rate",)) == (first.crowded, second.crowded)
    assert 5 + 2 == second.arms["new"].events["error_rate"]


def test_thresholds_come_from_the_pooled_past_of_a_route(book, ledger):
    """Both arms, and experiments that came before: what is slow is told by what was usual."""
    book(("w", 1, counts(cell(requests_n=60, latency_n={20: 60}), cell("old", name="digits@0", latency_n={40: 60}))))
    p50, p90, p99 = ledger.latency_quantiles("digits", EPOCH, EPOCH + 1)
    assert 0.0009 < p50 < 0.0011
    assert 0.009 < p90 < p99 <= 0.0101
    assert () == ledger.latency_quantiles("digits", EPOCH + 1, EPOCH + 2)


def test_evidence_is_kept_for_a_month_after_it_was_last_counted(engine, book, ledger):
    bad = [Bad("error_rate", 1, "e", 1.0)]
    book(("w", 1, counts(cell(requests_n=1, units=[1], bad=bad), lost={NAME: [EPOCH]})))
    assert (0, 1) == (prune(engine, START_S + KEPT_S), len(ledger.epochs(NAME)))
    assert (1, ()) == (prune(engine, START_S + KEPT_S + 20), ledger.experiments("digits"))
    with engine.connect() as connection:
        left = {table: connection.execute(text(f"SELECT * FROM {table}")).all() for table in TABLES}
    assert {table: [] for table in TABLES} == left


def test_where_one_arm_has_everything_epochs_are_kept_for_hours(engine, book, ledger):
    """They give thresholds to the step that follows, and would be thousands a day."""
    book(("w", 1, counts(cell("old", shares='{"old":1000000}', requests_n=1), cell(requests_n=1))))
    prune(engine, START_S + WHOLE_KEPT_S + 20)
    assert [SPLIT] == [epoch.shares_ppm for epoch in ledger.epochs(NAME)]
