"""What counts for whom: one request, one line of the ledger."""

from bisect import bisect_left
from collections import Counter as Counts

import pytest
from msgspec.structs import replace

from gateway.actions import Action
from gateway.arrival import Arrival, Reply
from gateway.counting import Counter
from gateway.execution.executor import execute
from gateway.execution.outcome import Observation, Outcome
from gateway.increments import LATENCY_BOUNDS_S, Increment, quantile_of
from gateway.recording import Recorder
from gateway.slicing import Slicing
from gateway.tally import BAD_LIMIT, CELLS_LIMIT, EXAMPLES_LIMIT, Tallies, Trial
from observability.metrics import Metrics
from observability.tracing import Tracing
from runners.core.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InvalidInput,
    InvalidOutput,
    NotReady,
    Overloaded,
    untried,
)
from strategies.core.hashes import HASHES, HashName
from strategies.core.plan import RequestFacts

NOW = 1_700_000_005.0
EPOCH = 170_000_000
UNITS_LIMIT = 1000  # in place of more
COUNTRY = Slicing(0, {"nz": "country=nz", "au": "country=au"}, "country=other")
SHARES = '{"new":1000000,"old":0}'


@pytest.fixture
def tallies() -> Tallies:
    return Tallies()


@pytest.fixture
def counted(bind, tallies, route_request, endpoints):
    """Lead a request through an executor whose candidate does what the script says, and count it."""

    async def count(
        script=None,
        *,
        at: float = NOW,
        slow_s=(),
        actions=(),
        country: str | None = None,
        has_outcome: bool = True,
        waited_s=0.0,
        **headers,
    ):
        trial = Trial(
            "digits@1",
            0,
            {"new": 1_000_000, "old": 0},
            ("old", "new"),
            slow_s,
            actions,
            () if country is None else (COUNTRY,),
        )
        route = bind(tally=tallies.route(trial))
        endpoints["new"].script = script
        routed = route_request(route, **headers)
        routed = replace(routed, facts=replace(routed.facts, attributes=(country or "",)))
        arrival = Arrival(at, routed.deadline_at - 5.0 - waited_s, routed.facts.event_id, "http", {})
        if routed.decision.plan.assigned is not None:
            route.tally.begin(at)
        Counter().count(arrival, routed, await execute(routed) if has_outcome else None)

    return count


def only(tallies: Tallies) -> Increment:
    """The one increment there is, of the candidate."""
    (cell,) = tallies.take(NOW).cells
    assert ("digits@1", 0, SHARES, EPOCH, "new") == (
        cell.key.experiment,
        cell.key.step,
        cell.key.shares,
        cell.key.epoch,
        cell.key.arm,
    )
    return cell.increment


async def test_an_answer_counts_for_the_arm_assigned(counted, tallies):
    """One request, one run, one unit of its own, its duration, and nothing bad."""
    await counted()
    found = only(tallies)
    assert (1, 1, 1, 0, {}, []) == (
        found.requests_n,
        found.units_n,
        found.runs_n,
        found.withheld_n,
        found.events,
        found.bad,
    )
    assert 1 == sum(found.latency_n.values())
    assert 0 < found.latency_s == found.latency_s2**0.5


@pytest.mark.parametrize(
    ("script", "events"),
    [
        (ExecutionFailed("x"), {"error_rate": 1, "fallback_rate": 1}),
        (NotReady("x"), {"error_rate": 1, "fallback_rate": 1}),
        (DeadlineExceeded("x"), {"error_rate": 1, "fallback_rate": 1}),
        (ValueError("x"), {"error_rate": 1, "fallback_rate": 1}),
        (InvalidOutput("x"), {"invalid_output": 1, "fallback_rate": 1}),
    ],
)
async def test_a_candidate_that_fails_into_its_fallback_is_blamed(counted, tallies, script, events):
    """Otherwise a candidate that crashes would look healthy: somebody answered, after all."""
    await counted(script)
    found = only(tallies)
    assert (1, events) == (found.requests_n, found.events)
    assert sorted(events) == sorted(bad.metric for bad in found.bad)


@pytest.mark.parametrize(
    "script",
    [Overloaded("x"), untried(DeadlineExceeded("x")), untried(NotReady("the model was closed"))],
)
async def test_what_the_gateway_itself_refused_is_withheld(counted, tallies, script):
    """An overload must not roll back an innocent candidate."""
    await counted(script)
    found = only(tallies)
    assert (0, 0, 0, 1, {}) == (found.requests_n, found.units_n, found.runs_n, found.withheld_n, found.events)


async def test_a_caller_s_own_fault_is_nobody_s(counted, tallies):
    await counted(InvalidInput("x"))
    assert [] == tallies.take(NOW).cells


async def test_a_caller_who_left_at_once_says_nothing(counted, tallies):
    await counted(has_outcome=False, slow_s=(1.0, 2.0, 3.0))
    assert (0, 1) == ((found := only(tallies)).requests_n, found.withheld_n)


async def test_a_caller_who_left_after_the_slowest_limit_knows_that_the_arm_was_slow(counted, tallies):
    """A candidate that hangs cannot hide behind clients who give up before its deadline."""
    await counted(has_outcome=False, slow_s=(1.0, 2.0, 3.0), waited_s=4.0)
    found = only(tallies)
    assert (1, 0, {"latency_p50": 1, "latency_p90": 1, "latency_p99": 1}) == (
        found.requests_n,
        found.withheld_n,
        found.events,
    )


@pytest.mark.parametrize("headers", [{"x_turnout_arm": "new"}, {"x_turnout_arm": "old"}])
async def test_an_arm_that_was_forced_is_no_evidence(counted, tallies, headers, monkeypatch):
    monkeypatch.setattr("gateway.config.compiled.may_force", lambda *_: True)
    await counted(ExecutionFailed("x"), **headers)
    assert [] == tallies.take(NOW).cells


async def test_a_unit_s_second_error_is_not_counted_again(counted, tallies):
    """One angry account that asks a thousand times is one error, not a thousand."""
    for _ in range(3):
        await counted(ExecutionFailed("x"), x_turnout_unit="ann")
    await counted(ExecutionFailed("x"), x_turnout_unit="bob")
    found = only(tallies)
    assert (4, 2, {}) == (found.requests_n, len(found.units), found.events)
    assert 2 == len([bad for bad in found.bad if bad.metric == "error_rate"])
    assert all(bad.counts for bad in found.bad)


async def test_what_is_no_answer_is_counted_each_time(counted, tallies):
    """Three requests with NaN are enough to know, and may all be one client's."""
    for _ in range(3):
        await counted(InvalidOutput("x"), x_turnout_unit="ann")
    found = only(tallies)
    assert {"invalid_output": 3} == found.events
    assert 3 == len({bad.event_id for bad in found.bad if bad.metric == "invalid_output"})


async def test_a_slow_call_is_an_event_per_limit_it_passes(counted, tallies):
    await counted(slow_s=(0.0, 0.0, 1e9))
    found = only(tallies)
    assert {"latency_p50": 1, "latency_p90": 1} == found.events
    assert [("latency_p50", False), ("latency_p90", False)] == [(bad.metric, bad.counts) for bad in found.bad]


async def test_slow_calls_of_the_baseline_leave_room_for_the_names_of_the_candidate_s(tallies):
    """Half of all calls are slower than the median, and most are the baseline's."""
    tally = tallies.route(Trial("digits@1", 0, {"new": 10_000, "old": 990_000}, ("old", "new")))
    for n in range(EXAMPLES_LIMIT + 10):
        tally.experiment.show("latency_p50", 0, f"old-{n}", NOW, cell(tally, EPOCH, 0))
    tally.experiment.show("latency_p50", 1, "new-0", NOW, cell(tally, EPOCH, 1))
    old, new = tally.cells[EPOCH]
    assert (EXAMPLES_LIMIT + 10, EXAMPLES_LIMIT) == (old.events["latency_p50"], len(old.bad))
    assert ["new-0"] == [bad.event_id for bad in new.bad]


SAYS_TWO = Action("action:two", "y", equals=2)  # what the candidate answers
SAYS_ONE = Action("action:one", "y", equals=1)  # what the baseline answers


async def test_an_answer_that_is_an_action_counts_once_for_a_unit_and_is_named(counted, tallies):
    for unit in ("ann", "ann", "bob"):
        await counted(actions=(SAYS_TWO, SAYS_ONE), x_turnout_unit=unit)
    found = only(tallies)
    assert (3, {}) == (found.requests_n, found.events)
    assert [("action:two", True)] * 2 == [(bad.metric, bad.counts) for bad in found.bad]


async def test_without_a_unit_each_answer_that_is_an_action_counts(counted, tallies):
    for _ in range(3):
        await counted(actions=(SAYS_TWO,))
    assert {"action:two": 3} == only(tallies).events


async def test_what_the_fallback_answers_is_no_action_of_the_candidate(counted, tallies):
    """It has answered nothing."""
    await counted(ExecutionFailed("x"), actions=(SAYS_ONE, SAYS_TWO))
    assert {"error_rate": 1, "fallback_rate": 1} == only(tallies).events


async def test_every_request_is_in_one_slice_of_an_attribute_and_a_value_that_is_not_declared_in_other(
    counted, tallies
):
    for country in ("nz", "nz", "au", "xx", ""):
        await counted(country=country)
    found = only(tallies)
    assert (5, 5) == (found.requests_n, found.runs_n)
    assert {"requests|country=nz": 2, "requests|country=au": 1, "requests|country=other": 2} == found.events


async def test_a_bad_event_counts_in_its_slice_as_it_does_in_the_whole(counted, tallies):
    """A unit's first in each: ann has erred twice, in two slices."""
    for unit, country in (("ann", "nz"), ("ann", "nz"), ("ann", "au")):
        await counted(ExecutionFailed("x"), country=country, x_turnout_unit=unit)
    found = only(tallies)
    assert {"requests|country=nz": 2, "requests|country=au": 1} == found.events
    assert Counts(
        ["error_rate", "fallback_rate"]
        + [f"{metric}|country={country}" for metric in ("error_rate", "fallback_rate") for country in ("nz", "au")]
    ) == Counts(bad.metric for bad in found.bad)


async def test_an_action_counts_in_its_slice(counted, tallies):
    await counted(actions=(SAYS_TWO,), country="nz")
    assert {"requests|country=nz": 1, "action:two": 1, "action:two|country=nz": 1} == only(tallies).events


def cell(tally, epoch: int, arm: int) -> Increment:
    return (tally.cells.get(epoch) or tally.open(epoch))[arm]


def fail_in_runs(tallies: Tallies, routed, runs, *, is_lost: bool) -> None:
    bound = routed.route.arms[1]
    for run in runs:
        routed.route.tally.begin(NOW)
        seen = Observation(bound, "serve", "error", 0.0, 0.1, run=run, loses_run=is_lost)
        Counter().count(Arrival(NOW, 0.0, "e", "http", {}), routed, Outcome(ExecutionFailed("x"), None, (seen,)))


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_run_that_is_lost_as_a_whole_counts_once(bind, tallies, route_request, size):
    """Whatever was in it: ten lost runs are ten faults, and judged beside the number of runs."""
    tally = tallies.route(Trial("digits@1", 0, {"new": 1_000_000, "old": 0}, ("old", "new")))
    routed = route_request(bind(tally=tally))
    fail_in_runs(tallies, routed, [run for run in range(1, 11) for _ in range(size)], is_lost=True)
    found = only(tallies)
    assert (10 * size, 10, {"run_errors": 10}) == (found.requests_n, found.runs_n, found.events)
    assert 10 == len([bad for bad in found.bad if bad.metric == "run_errors"])  # one request for each


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_rows_that_fail_count_each_whatever_run_they_were_in(bind, tallies, route_request, size):
    """5,000 requests that fail by themselves are as many errors in runs of 1, of 100 and of 5,000."""
    tally = tallies.route(Trial("digits@1", 0, {"new": 1_000_000, "old": 0}, ("old", "new")))
    routed = route_request(bind(tally=tally))
    fail_in_runs(tallies, routed, [1 + n // size for n in range(5000)], is_lost=False)
    found = only(tallies)
    assert (5000, 5000 // size, 5000) == (found.requests_n, found.runs_n, found.events["error_rate"])


async def test_an_epoch_stays_open_while_a_request_of_it_is_under_way(bind, tallies, route_request):
    """What hangs until its deadline is counted where it arrived, so nobody may close that before."""
    tally = tallies.route(Trial("digits@1", 0, {"new": 1_000_000}, ("old", "new")))
    routed = route_request(bind(tally=tally))
    tally.begin(NOW)
    assert (EPOCH + 3, {"digits@1": EPOCH}) == ((found := tallies.take(NOW + 30)).open_from, found.holding)
    Counter().count(Arrival(NOW, 0.0, "e", "http", {}), routed, await execute(routed))
    found = tallies.take(NOW + 30)
    assert ({}, [EPOCH]) == (found.holding, [cell.key.epoch for cell in found.cells])


async def test_tables_come_and_go_and_the_experiment_stays(counted, tallies):
    """An unrelated revision touches no cell: what two tables count for one experiment is one sum."""
    await counted(x_turnout_unit="ann")
    await counted(x_turnout_unit="ann")
    found = only(tallies)
    assert (2, 1) == (found.requests_n, len(found.units))


async def test_what_was_taken_is_not_told_again(counted, tallies):
    await counted()
    tallies.take(NOW)
    assert ([], False) == (tallies.take(NOW).cells, tallies.is_awake)


class Broken:
    """An event log that takes nothing."""

    def offer(self, event):
        raise OSError("no room")


async def test_evidence_is_counted_when_telemetry_fails(bind, tallies, route_request, caplog):
    """Telemetry may be lost, evidence may not."""
    tally = tallies.route(Trial("digits@1", 0, {"new": 1_000_000, "old": 0}, ("old", "new")))
    routed = route_request(bind(tally=tally))
    tally.begin(NOW)
    recorder = Recorder(log=Broken(), metrics=Metrics("0"), tracing=Tracing())
    recorder.record(Arrival(NOW, 0.0, "e", "http", {}), routed, await execute(routed), Reply("ok"))
    assert (1, 1) == (recorder.failed_n, only(tallies).requests_n)


def test_a_count_that_fails_is_a_counter_and_says_which_epoch_is_not_whole(bind, tallies, route_request, caplog):
    tally = tallies.route(Trial("digits@1", 0, {"new": 1_000_000}, ("old", "new")))
    routed = route_request(bind(tally=tally))
    tally.begin(NOW)
    Counter().count(Arrival(NOW, 0.0, "e", "http", {}), routed, Outcome(ExecutionFailed("x"), None, ()))
    found = tallies.take(NOW)
    assert (1, {"digits@1": [EPOCH]}, {}) == (tallies.failed_n, found.lost, found.holding)
    assert "could not be counted" in caplog.text


@pytest.mark.parametrize("hash_name", HashName)
def test_units_beyond_the_bound_are_thinned_alike_for_all_arms(tallies, monkeypatch, hash_name):
    """Whom we forget is told by bits that no arm's share knows of, so what is left is split as before."""
    monkeypatch.setattr("gateway.tally.UNITS_LIMIT", UNITS_LIMIT)
    chosen = HASHES[hash_name]
    prefix = chosen.prefix("salt")
    tally = tallies.route(Trial("digits@1", 0, {"new": 500_000, "old": 500_000}, ("old", "new")))
    for n in range(4 * UNITS_LIMIT):
        point = chosen.point_of(prefix, b"unit-%d" % n)
        tally.experiment.meet(point, cell(tally, EPOCH, point >> 63))
    old, new = tally.cells[EPOCH]
    assert len(tally.experiment._met) <= UNITS_LIMIT < len(old.units) + len(new.units) < 4 * UNITS_LIMIT
    assert abs(len(old.units) - len(new.units)) < 4 * (len(old.units) + len(new.units)) ** 0.5


def test_bad_units_beyond_the_bound_are_counted_each_time_and_that_is_said(tallies):
    tally = tallies.route(Trial("digits@1", 0, {"new": 1_000_000}, ("old", "new")))
    increment = cell(tally, EPOCH, 1)
    increment.requests_n = 1
    for n in [*range(BAD_LIMIT + 5), BAD_LIMIT + 1]:
        tally.experiment.blame("error_rate", 1, RequestFacts("e", f"u{n}", n), NOW, increment)
    found = tallies.take(NOW)
    assert {"digits@1": ["error_rate"]} == found.crowded
    assert (BAD_LIMIT, {"error_rate": 6}) == (
        len(found.cells[0].increment.bad),
        found.cells[0].increment.events,
    )


def test_what_nobody_takes_has_a_bound_and_says_so(tallies):
    """The control process has been away for hours: the oldest epochs are given up, counted and marked."""
    tally = tallies.route(Trial("digits@1", 0, {"new": 1_000_000}, ("old", "new")))
    for n in range(CELLS_LIMIT + 10):
        cell(tally, EPOCH + n, 1).requests_n += 1
    found = tallies.take(NOW)
    assert (CELLS_LIMIT, 10) == (len(found.cells), tallies.dropped_n)
    assert [EPOCH + n for n in range(10)] == found.lost["digits@1"]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.010), (0.9, 0.018), (0.99, 0.0198)])
def test_quantiles_are_those_of_the_calls_within_a_bucket(share, expected):
    found = Counts(bisect_left(LATENCY_BOUNDS_S, (n + 1) / 100_000) for n in range(2000))
    assert expected == pytest.approx(quantile_of(found, share), rel=0.03)
    assert quantile_of({}, share) is None
