"""The bookkeeper between workers that are said to count and a real ledger."""

import asyncio
from pathlib import Path

import pytest

from gateway.control.bookkeeper import Bookkeeper
from gateway.control.deaths import Blamed
from gateway.increments import CellIncrement, CellKey, Counts, Increment
from gateway.link import Counted
from gateway.state.errors import StateUnavailable
from gateway.state.ledger import Ledger
from gateway.state.shelf import Shelf
from strategies.evidence.epochs import WORKER_DEATHS

NAME, EPOCH = "digits@1", 1000
SHARES = '{"new":10000,"old":990000}'


class Clock:
    def __init__(self) -> None:
        self.now = 10.0 * EPOCH

    def __call__(self) -> float:
        return self.now


class FakeWorker:
    """What the bookkeeper needs of a worker."""

    def __init__(self, pid: int) -> None:
        self.id, self.pid = f"worker-{pid}", pid
        self.counted: list[Counted] = []
        self.taken: list[int] = []
        self.open_from, self.holding = 0, {}
        self.has_said_all, self.has_served = False, True
        self.was_killed, self.ran = False, frozenset()
        self.ended = asyncio.get_running_loop().create_future()

    def say(self, seq: int, open_from: int, requests_n: int = 0, *, is_last: bool = False, held: int = 0) -> None:
        cells = [CellIncrement(CellKey(NAME, 0, SHARES, EPOCH, "new"), Increment(requests_n))] if requests_n else []
        self.counted.append(Counted(seq, Counts(open_from, {NAME: held} if held else {}, cells), is_last))

    def take(self, counted: Counted) -> None:
        self.counted.remove(counted)
        self.taken.append(counted.seq)
        self.open_from, self.holding = counted.counts.open_from, counted.counts.holding
        self.has_said_all = self.has_said_all or counted.is_last


@pytest.fixture
def shelf(tmp_path: Path):
    shelf = Shelf(tmp_path)
    yield shelf
    shelf.close()


def blamed(ran: frozenset[bytes]) -> list[Blamed]:
    return [Blamed(NAME, 0, {"old": 990_000, "new": 10_000}, "new") for sign in ran if sign == b"new"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def books(shelf, clock) -> Bookkeeper:
    return Bookkeeper(shelf, "host:8000", lambda: [NAME], blamed, clock)


async def begun(books: Bookkeeper, pid: int) -> FakeWorker:
    worker = FakeWorker(pid)

    async def starting():
        return worker

    await books.watch(starting())
    return worker


async def test_a_worker_is_told_once_the_ledger_has_what_it_counted(books, shelf, clock):
    worker = await begun(books, 1)
    worker.say(1, EPOCH, 5)
    assert await books._try()
    assert ([1], []) == (worker.taken, worker.counted)
    clock.now += 12
    worker.say(2, EPOCH + 1)
    assert await books._try()
    assert [5] == [epoch.arms["new"].requests_n for epoch in shelf.ledger().epochs(NAME)]


async def test_an_epoch_waits_for_the_slowest_worker(books, shelf, clock):
    one, two = await begun(books, 1), await begun(books, 2)
    one.say(1, EPOCH, 5)
    await books._try()
    clock.now += 12
    one.say(2, EPOCH + 1)
    two.say(1, EPOCH + 1, held=EPOCH)  # a request of the epoch before hangs there
    await books._try()
    assert () == shelf.ledger().epochs(NAME)
    two.say(2, EPOCH + 1, 1)
    await books._try()
    assert [6] == [epoch.arms["new"].requests_n for epoch in shelf.ledger().epochs(NAME)]


async def test_a_worker_that_has_not_said_anything_yet_is_waited_for(books, shelf, clock):
    one, _ = await begun(books, 1), await begun(books, 2)
    one.say(1, EPOCH, 5)
    clock.now += 12
    await books._try()
    assert () == shelf.ledger().epochs(NAME)


async def test_a_worker_that_was_killed_leaves_a_mark_and_holds_nobody_up(books, shelf, clock):
    one, two = await begun(books, 1), await begun(books, 2)
    one.say(1, EPOCH, 5)
    await books._try()
    two.ended.set_result(-9)
    await books._try()
    clock.now += 12
    one.say(2, EPOCH + 1)
    await books._try()
    assert [("host:8000: process 2 ended before it had told all",)] == [e.lost for e in shelf.ledger().epochs(NAME)]
    assert 1 == books.lost_n


async def test_an_end_is_booked_for_the_arm_that_was_run_and_only_once(books, shelf, clock):
    one, two = await begun(books, 1), await begun(books, 2)
    two.ran = frozenset({b"new"})
    two.ended.set_result(-8)
    assert await books._try()
    one.say(1, EPOCH, 5)
    assert await books._try()
    clock.now += 12
    one.say(2, EPOCH + 1)
    await books._try()
    (epoch,) = shelf.ledger().epochs(NAME)
    assert ({WORKER_DEATHS: 1}, 5) == (epoch.arms["new"].events, epoch.arms["new"].requests_n)
    assert epoch.lost


async def test_whom_this_process_has_killed_itself_speaks_against_nobody(books, shelf, clock):
    """A model that hangs when its gateway is stopped has killed nobody."""
    one, two = await begun(books, 1), await begun(books, 2)
    two.ran, two.was_killed = frozenset({b"new"}), True
    two.ended.set_result(-9)
    one.say(1, EPOCH, 5)
    await books._try()
    clock.now += 12
    one.say(2, EPOCH + 1)
    await books._try()
    assert [{}] == [epoch.arms["new"].events for epoch in shelf.ledger().epochs(NAME)]


async def test_a_worker_that_said_its_last_words_has_lost_nothing(books, shelf, clock):
    """A restart in order is no hole in the evidence."""
    worker = await begun(books, 1)
    worker.say(1, EPOCH, 5)
    worker.say(2, EPOCH, 2, is_last=True)
    worker.ended.set_result(0)
    clock.now += 12
    await books.leave()
    assert [(7, ())] == [(e.arms["new"].requests_n, e.lost) for e in shelf.ledger().epochs(NAME)]
    assert (0, [1, 2]) == (books.lost_n, worker.taken)


async def test_while_the_state_is_away_everybody_keeps_what_they_counted(books, shelf, clock, monkeypatch, caplog):
    worker = await begun(books, 1)
    worker.say(1, EPOCH, 5)

    def away():
        raise StateUnavailable("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(shelf, "engine", away)
        assert not await books._try()
        assert not await books._try()
    assert ([], 1) == (worker.taken, caplog.text.count("the database is away"))
    assert await books._try()
    assert [1] == worker.taken


async def test_a_gateway_that_was_killed_says_so_when_it_comes_back(books, shelf, clock):
    """All its processes were ended at once: what they had not told is gone, and the ledger says so."""
    worker = await begun(books, 1)
    worker.say(1, EPOCH, 5)
    await books._try()
    clock.now += 5
    again = Bookkeeper(shelf, "host:8000", lambda: [NAME], blamed, clock)
    await again._try()
    clock.now += 10
    await again._try()
    (epoch,) = Ledger(shelf.engine()).epochs(NAME)
    assert (5, ("host:8000: it has gone without a word",)) == (epoch.arms["new"].requests_n, epoch.lost)


async def test_two_bookings_at_once_take_nothing_twice(books):
    """The last words come while an earlier booking is under way."""
    worker = await begun(books, 1)
    worker.say(1, EPOCH, 5)
    assert [True, True] == await asyncio.gather(books._try(), books._try())
    assert [1] == worker.taken
