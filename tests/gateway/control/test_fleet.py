"""Workers are led from revision to revision together, and nobody is left behind."""

import asyncio
from pathlib import Path

import pytest

from gateway.control import fleet as fleet_module
from gateway.control.fleet import Fleet
from gateway.handover import Launch, unpack, unpack_routes
from gateway.publishing.change import Apply, Operate
from strategies.rollout.machine import Verb
from tests.gateway.conftest import documents

FIRST = Apply(documents())


class FakeWorker:
    """Takes every order, as a worker would, unless it is told not to."""

    def __init__(self, slot: int, revision: int = 0) -> None:
        self.slot, self.pid, self.revision = slot, 100 + slot, revision
        self.is_up = True
        self.refuses: dict[str, str] = {}
        self.hears_swaps = True
        self.warm_number = 0
        self.discarded: list[int] = []
        self.turn = asyncio.Lock()
        self.timeout_s = 0.0
        self.may_open = asyncio.Event()
        self.may_open.set()

    async def warm(self, number, routes, within_s):
        (route,) = unpack_routes(routes)
        async with asyncio.timeout(within_s):
            await self.may_open.wait()
        if not self.refuses:
            self.warm_number, self.timeout_s = number, route.timeout_s
        return self.refuses

    async def swap(self, number, _within_s):
        if self.hears_swaps and self.warm_number == number:
            self.revision = number
        return self.revision == number

    def discard(self, number):
        self.discarded.append(number)


class FakeCrew:
    def __init__(self, *workers) -> None:
        self.workers = list(workers)


@pytest.fixture
def fleet(tmp_path, monkeypatch) -> Fleet:
    monkeypatch.setattr(fleet_module, "AGAIN_S", 0.01)
    return Fleet(Launch(state=tmp_path, events=str(tmp_path)))


@pytest.fixture
def two(fleet):
    workers = [FakeWorker(0), FakeWorker(1)]
    fleet.lead(FakeCrew(*workers))
    return workers


async def until(holds) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_swap_comes_back_when_everybody_routes_by_it(fleet, two, after):
    meaning = after(Apply(documents()))
    assert {} == await fleet.warm(meaning)
    await fleet.swap(meaning)
    assert [1, 1] == [worker.revision for worker in two]
    assert [] == fleet.behind()


async def test_one_who_cannot_open_a_model_stops_all(fleet, two, after):
    two[1].refuses = {"route 'digits', arm 'new'": "no such file"}
    assert two[1].refuses == await fleet.warm(after(Apply(documents())))
    assert [1] == two[0].discarded
    assert [0, 0] == [worker.revision for worker in two]


async def test_one_who_joined_in_between_follows(fleet, two, after):
    meaning = after(Apply(documents()))
    await fleet.warm(meaning)
    late = FakeWorker(2)
    fleet._crew.workers.append(late)
    await fleet.swap(meaning)
    await until(lambda: late.revision == 1)


async def test_one_who_did_not_hear_is_asked_again(fleet, two, after):
    two[0].hears_swaps = False
    meaning = after(Apply(documents()))
    await fleet.warm(meaning)
    await fleet.swap(meaning)
    assert ["worker 0 routes by revision 0"] == fleet.behind()
    two[0].hears_swaps = True
    await until(lambda: two[0].revision == 1)


async def test_one_who_cannot_follow_is_asked_again_until_it_can(fleet, two, after, caplog):
    meaning = after(Apply(documents()))
    await fleet.warm(meaning)
    await fleet.swap(meaning)
    late = FakeWorker(2)
    late.refuses = {"arm": "no memory at the moment"}
    fleet._crew.workers.append(late)
    fleet.join(late)
    await until(lambda: "worker 2 cannot follow to revision 1" in caplog.text)
    late.refuses = {}
    await until(lambda: late.revision == 1)


async def test_one_who_joins_at_the_moment_of_a_swap_serves_its_routes(fleet, two, after, monkeypatch):
    """A number never stands for the routes of another revision."""
    first = after(Apply(documents()))
    second = after(Apply(documents()), Apply(documents(timeout="3s")))
    await fleet.warm(first)
    await fleet.swap(first)
    late = FakeWorker(2, revision=1)
    pack = fleet_module.pack_routes

    def join_meanwhile(routes):
        late.revision = 0
        loop.call_soon_threadsafe(fleet.join, late)
        return pack(routes)

    loop = asyncio.get_running_loop()
    await fleet.warm(second)
    fleet._crew.workers.append(late)
    monkeypatch.setattr(fleet_module, "pack_routes", join_meanwhile)
    await fleet.swap(second)
    await until(lambda: late.revision == 2)
    assert [3.0, 3.0, 3.0] == [worker.timeout_s for worker in (*two, late)]


async def test_a_change_waits_for_one_who_is_still_catching_up(fleet, two, after):
    """A worker keeps one table warm: two who warm different ones would push each other's out."""
    first = after(Apply(documents()))
    second = after(Apply(documents()), Apply(documents(timeout="3s")))
    await fleet.warm(first)
    await fleet.swap(first)
    late = FakeWorker(2)
    late.may_open.clear()
    fleet._crew.workers.append(late)
    fleet.join(late)
    await asyncio.sleep(0.01)
    warming = asyncio.ensure_future(fleet.warm(second))
    await asyncio.sleep(0.01)
    late.may_open.set()
    assert {} == await warming
    assert (1, 2) == (late.revision, late.warm_number)
    await fleet.swap(second)
    assert [2, 2, 2] == [worker.revision for worker in (*two, late)]


async def test_a_change_waits_for_the_first_workers(fleet, after):
    """Models are opened before they are live, however early somebody asks."""
    fleet.expect()
    worker = FakeWorker(0)
    warming = asyncio.ensure_future(fleet.warm(after(Apply(documents()))))
    await asyncio.sleep(0.02)
    assert 0 == worker.warm_number
    fleet.lead(FakeCrew(worker))
    assert {} == await warming
    assert 1 == worker.warm_number


async def test_one_who_is_there_already_is_left_alone(fleet, two, after):
    meaning = after(Apply(documents()))
    await fleet.warm(meaning)
    await fleet.swap(meaning)
    joined = FakeWorker(2, revision=1)
    fleet.join(joined)
    await asyncio.sleep(0)
    assert 0 == joined.warm_number


async def test_a_replacement_starts_with_what_is_live(fleet, two, after):
    await fleet.swap(after(Apply(documents())))
    launch = unpack(fleet.launch)
    assert (1, ["digits"]) == (launch.revision, [route.name for route in launch.routes])


async def test_without_workers_a_revision_is_live_at_once(fleet, after):
    meaning = after(Apply(documents()))
    assert {} == await fleet.warm(meaning)
    await fleet.swap(meaning)
    assert 1 == unpack(fleet.launch).revision


def test_a_launch_knows_where_it_belongs(fleet, tmp_path):
    assert Path(tmp_path) == unpack(fleet.launch).state


async def test_a_worker_that_hangs_does_not_hold_up_a_rollback(fleet, two, after, monkeypatch, caplog):
    """Nothing has to be opened for it, and at three in the morning nobody waits ten minutes."""
    monkeypatch.setattr(fleet_module, "ANSWER_LIMIT_S", 0.05)
    await fleet.warm(after(FIRST))
    await fleet.swap(after(FIRST))
    two[1].may_open.clear()
    back = after(FIRST, Operate("digits", Verb.ROLLBACK))

    assert {} == await fleet.warm(back)
    await fleet.swap(back)
    assert ([2, 1], ["worker 1 routes by revision 1"]) == ([worker.revision for worker in two], fleet.behind())
    assert "worker 1 does not answer; the others go on to revision 2 without it" in caplog.text
    two[1].may_open.set()
    await until(lambda: two[1].revision == 2)


async def test_a_worker_that_hangs_stops_a_change_that_opens_models(fleet, two, after, monkeypatch):
    monkeypatch.setattr(fleet_module, "WARM_LIMIT_S", 0.05)
    two[1].may_open.clear()

    assert {"worker 1": "did not open its models within 0.05 s"} == await fleet.warm(after(FIRST))
    assert [1] == two[0].discarded
    assert not two[0].turn.locked()
