"""Keeping every slot filled, with workers that are told when to end."""

import asyncio

import pytest

from gateway.control import crew as crew_module
from gateway.control.crew import LONGEST_PAUSE_S, Crew, StartFailed, pause_after
from gateway.link import Failed, Ready
from observability.merge import Family, Sample

READY = Ready(1, ["digits"], {})


class FakeWorker:
    """Ready or failed as it is told, ended when a test or the crew says so."""

    def __init__(self, slot, said=READY):
        loop = asyncio.get_running_loop()
        self.slot, self.pid, self.began_at = slot, 100 + slot, 0.0
        self.ready, self.ended = loop.create_future(), loop.create_future()
        self.ready.set_result(said)
        self.has_served = isinstance(said, Ready)
        self.start_s = 0.5
        self.snapshot = []
        self.stops_n = 0
        self.revision = 1
        self.status = 0  # with which it ends when asked to, None for one that does not

    @property
    def is_up(self):
        return not self.ended.done()

    def end(self, status):
        if not self.ended.done():
            self.ended.set_result(status)

    def stop(self):
        self.stops_n += 1
        if self.status is not None:
            self.end(self.status)

    def kill(self):
        self.end(-9)


def told(number):
    return [
        Family("n", "counter", "", [Sample("n_total", {}, number)]),
        Family("turnout_revision", "gauge", "", [Sample("turnout_revision", {}, 1.0)]),
    ]


@pytest.fixture
def started(monkeypatch):
    """Workers in the order in which they were started; pauses are skipped and noted."""
    workers, events, pauses, renewed, joined = [], [], [], [], []
    real_sleep = asyncio.sleep

    async def start(slot):
        workers.append(FakeWorker(slot))
        return workers[-1]

    async def sleep(seconds):
        pauses.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr(crew_module.asyncio, "sleep", sleep)
    monkeypatch.setattr(crew_module, "monotonic", lambda: 10.0)
    crew = Crew(2, start, renewed.append, events.append, joined.append)
    crew.renewed, crew.joined = renewed, joined
    return crew, workers, events, pauses


async def turns(n=20):
    for _ in range(n):
        await asyncio.get_running_loop().run_in_executor(None, int)


async def test_a_worker_that_ends_is_replaced_in_its_slot(started):
    crew, workers, events, pauses = started
    await crew.start()
    workers[1].end(-9)
    await turns()

    assert [0, 1, 1] == [worker.slot for worker in workers]
    assert [workers[0], workers[2]] == crew.workers
    assert ([0, 1], [0.0]) == (crew.restarts_n, pauses)
    assert [
        ("worker_lost", "worker 1, process 101, was ended by SIGKILL after 10.0 s"),
        ("worker_replaced", "worker 1 is process 101 now"),
    ] == [(event.kind, event.message) for event in events]
    await crew.stop(0.0)


async def test_what_a_worker_counted_outlives_it(started):
    """No sum ever falls, whoever dies."""
    crew, *_ = started
    await crew.start()
    for number in (3.0, 4.0):
        crew.workers[0].snapshot = told(number)
        crew.workers[0].end(-9)
        await turns()

    assert [Family("n", "counter", "", [Sample("n_total", {}, 7.0)])] == crew.remains
    assert [] == crew.workers[0].snapshot
    await crew.stop(0.0)


async def test_one_that_dies_again_and_again_is_started_ever_more_rarely(started):
    crew, _, _, pauses = started
    await crew.start()
    for _ in range(9):
        crew.workers[0].end(1)
        await turns()

    assert [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == pauses
    assert [0] * 8 == crew.renewed  # whoever connects meanwhile goes to the others
    assert [9, 0] == crew.restarts_n
    await crew.stop(0.0)


async def test_one_that_lived_long_is_replaced_at_once(started, monkeypatch):
    crew, _, _, pauses = started
    await crew.start()
    monkeypatch.setattr(crew_module, "monotonic", lambda: 1000.0)
    for _ in range(3):
        crew.workers[0].end(-11)
        await turns()

    assert [0.0, 0.0, 0.0] == pauses
    await crew.stop(0.0)


async def test_nobody_waits_for_one_that_takes_long_to_start(started):
    """A model of minutes must not hold up those who could be answered elsewhere."""
    crew, *_ = started
    await crew.start()
    crew.workers[1].start_s = 60.0
    crew.workers[1].end(-9)
    await turns()

    assert [1] == crew.renewed
    await crew.stop(0.0)


async def test_everybody_waits_for_the_only_one_there_is(started):
    """Where nobody else would answer, an answer that is late is better than none."""
    crew, *_ = started
    await crew.start()
    crew.workers[0].end(-9)
    crew.workers[1].start_s = 60.0
    crew.workers[1].end(-9)
    await turns()

    assert [] == crew.renewed
    await crew.stop(0.0)


async def test_a_system_without_room_for_a_process_is_asked_again(started):
    crew, workers, _, pauses = started
    await crew.start()
    start, refusals = crew._start, [OSError("no memory"), OSError("no memory")]

    async def refuse(slot):
        if refusals:
            raise refusals.pop()
        return await start(slot)

    crew._start = refuse
    workers[0].end(-9)
    await turns()

    assert ([3, 0], [0.0, 0.5, 1.0]) == (crew.restarts_n, pauses)
    assert not crew.workers[0].ended.done()
    await crew.stop(0.0)


async def test_a_gateway_starts_whole_or_not_at_all(started):
    crew, *_ = started

    async def fail(slot):
        return FakeWorker(slot, Failed("the state directory is read-only") if slot else READY)

    crew._start = fail
    with pytest.raises(StartFailed, match="read-only"):
        await crew.start()


@pytest.mark.parametrize(("status", "is_well"), [(0, True), (1, False)])
async def test_stopping_tells_whether_all_ended_well(started, status, is_well):
    crew, workers, _, _ = started
    await crew.start()
    workers[0].status = status

    assert await crew.stop(5.0) is is_well
    assert [1, 1] == [worker.stops_n for worker in workers]
    assert 2 == len(workers)  # nobody takes the place of one that was asked to end


async def test_one_that_will_not_stop_is_ended(started, monkeypatch):
    crew, workers, _, _ = started
    await crew.start()
    monkeypatch.setattr(crew_module, "LAST_WORDS_S", 0.0)
    workers[1].status = None

    assert await crew.stop(0.0) is False
    assert workers[1].ended.result() == -9


def test_no_pause_grows_beyond_its_bound():
    assert LONGEST_PAUSE_S == pause_after(10_000)
