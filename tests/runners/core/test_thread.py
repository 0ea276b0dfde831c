"""The thread of a model: bounded, punctual, and never waited for."""

import asyncio
import os
import subprocess
import sys
import threading
from time import monotonic

import pytest

from runners.core import thread as thread_module
from runners.core.errors import DeadlineExceeded, NotReady, Overloaded
from runners.core.thread import ModelThread


@pytest.fixture
async def thread():
    made = ModelThread("test", limit_n=3)
    yield made
    await made.close()


class Gate:
    """Work that runs until it is let go or stopped; `stops` counts how often it was told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.released = threading.Event()
        self.stops = 0

    def __call__(self) -> str:
        self.begun.set()
        assert self.released.wait(30)
        return "done"

    def stop(self) -> None:
        self.stops += 1
        self.released.set()

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.begun.wait, 30)


class Deaf(Gate):
    """Work that does not listen."""

    def stop(self) -> None:
        self.stops += 1


def ignore() -> None:
    pass


async def settled(thread: ModelThread) -> None:
    """Wait until the thread has passed everything that was put in."""
    await thread.run(ignore, ignore, deadline_at=monotonic() + 30)


async def test_the_outcome_comes_back(thread):
    """What the model gives, its caller gets."""
    assert 42 == await thread.run(lambda: 42, ignore, deadline_at=monotonic() + 30)


async def test_work_is_done_in_a_thread_of_its_own(thread):
    """The event loop goes on serving."""
    assert threading.get_ident() != await thread.run(threading.get_ident, ignore, deadline_at=monotonic() + 30)


async def test_what_the_work_raises_its_caller_catches(thread):
    """An error is nobody else's."""
    with pytest.raises(KeyError, match="mine"):
        await thread.run(lambda: {}["mine"], ignore, deadline_at=monotonic() + 30)


async def test_the_thread_outlives_work_that_wants_to_end_it(thread):
    """One bad run does not leave the others hanging."""
    with pytest.raises(RuntimeError, match="SystemExit"):
        await thread.run(sys.exit, ignore, deadline_at=monotonic() + 30)
    assert 1 == await thread.run(lambda: 1, ignore, deadline_at=monotonic() + 30)


async def test_the_deadline_answers_even_if_the_work_does_not_listen(thread):
    """A hanging model keeps nobody waiting."""
    deaf = Deaf()
    with pytest.raises(DeadlineExceeded):
        await thread.run(deaf, deaf.stop, deadline_at=monotonic() + 0.05)
    assert (1, False) == (deaf.stops, deaf.released.is_set())
    deaf.released.set()


async def test_the_deadline_tells_the_work_to_stop(thread):
    """What nobody waits for does not go on burning a core."""
    gate = Gate()
    with pytest.raises(DeadlineExceeded):
        await thread.run(gate, gate.stop, deadline_at=monotonic() + 0.05)
    await settled(thread)
    assert (1, True) == (gate.stops, thread.is_idle())


async def test_a_deadline_that_has_passed_is_refused_at_once(thread):
    """Late work is not begun."""
    gate = Gate()
    with pytest.raises(DeadlineExceeded):
        await thread.run(gate, gate.stop, deadline_at=monotonic())
    assert not gate.begun.is_set()


async def test_work_whose_deadline_passed_while_it_waited_is_never_run(thread):
    """A queue of the dead is not worked off."""
    first, second = Gate(), Gate()
    running = asyncio.create_task(thread.run(first, first.stop, deadline_at=monotonic() + 30))
    await first.has_begun()
    with pytest.raises(DeadlineExceeded):
        await thread.run(second, second.stop, deadline_at=monotonic() + 0.01)
    first.released.set()
    assert "done" == await running
    await settled(thread)
    assert not second.begun.is_set()


async def test_a_full_queue_refuses_at_once(thread):
    """Whoever would only wait in vain is told so now."""
    gate = Gate()
    waiting = [asyncio.create_task(thread.run(gate, gate.stop, deadline_at=monotonic() + 30)) for _ in range(3)]
    await gate.has_begun()
    with pytest.raises(Overloaded):
        await thread.run(gate, gate.stop, deadline_at=monotonic() + 30)
    gate.released.set()
    assert ["done"] * 3 == await asyncio.gather(*waiting)


async def test_a_caller_who_leaves_stops_the_work(thread):
    """A client that hung up costs nothing more."""
    gate = Gate()
    running = asyncio.create_task(thread.run(gate, gate.stop, deadline_at=monotonic() + 30))
    await gate.has_begun()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert 1 == gate.stops


async def test_a_caller_who_leaves_while_waiting_is_never_served(thread):
    """Work without an owner is not begun."""
    first, second = Gate(), Gate()
    running = asyncio.create_task(thread.run(first, first.stop, deadline_at=monotonic() + 30))
    await first.has_begun()
    waiting = asyncio.create_task(thread.run(second, second.stop, deadline_at=monotonic() + 30))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.released.set()
    await running
    await settled(thread)
    assert not second.begun.is_set()


async def test_work_can_be_handed_over_without_waiting_for_it(thread):
    """Whoever bounds and times many calls together needs no future for each."""
    outcome = asyncio.get_running_loop().create_future()
    thread.submit(lambda: 42, ignore, lambda *told: outcome.set_result(told))
    assert (42, None) == await outcome


async def test_work_that_was_handed_over_tells_once_the_thread_is_free(thread):
    """Also when it was stopped: until then nothing else could run."""
    gate, outcome = Gate(), asyncio.get_running_loop().create_future()
    stop = thread.submit(gate, gate.stop, lambda *told: outcome.set_result(told))
    await gate.has_begun()
    stop()
    stop()
    assert (("done", None), 1) == (await outcome, gate.stops)


async def test_work_that_was_handed_over_hears_of_the_close():
    """Nobody waits for a thread that is gone."""
    thread = ModelThread("test")
    gate, told = Gate(), []
    thread.submit(gate, gate.stop, lambda outcome, error: told.append((outcome, type(error))))
    await thread.close()
    assert [(None, NotReady)] == told
    with pytest.raises(NotReady):
        thread.submit(gate, gate.stop, lambda *_: None)


async def test_closing_fails_what_runs_and_what_waits():
    """Nobody waits for a model that is gone."""
    thread = ModelThread("test")
    gate = Gate()
    calls = [asyncio.create_task(thread.run(gate, gate.stop, deadline_at=monotonic() + 30)) for _ in range(3)]
    await gate.has_begun()
    await thread.close()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [NotReady] * 3 == [type(outcome) for outcome in outcomes]


async def test_work_waits_for_a_thread_that_is_begun_later():
    """Starting a thread holds up nobody but whoever wants it."""
    thread = ModelThread("test", is_begun=False)
    called = asyncio.create_task(thread.run(lambda: 7, ignore, deadline_at=monotonic() + 30))
    await asyncio.sleep(0)
    await thread.begin()
    assert 7 == await called
    await thread.close()


async def test_a_closed_thread_takes_no_work():
    """A model that is gone says so."""
    thread = ModelThread("test")
    await thread.close()
    with pytest.raises(NotReady):
        await thread.run(ignore, ignore, deadline_at=monotonic() + 30)


async def test_closing_twice_is_harmless(thread):
    """Whoever shares a model may close it too."""
    await thread.close()
    await thread.close()


async def test_closing_does_not_wait_for_work_that_does_not_listen(monkeypatch):
    """A gateway can be shut down whatever its models do."""
    monkeypatch.setattr(thread_module, "_LEAVE_S", 0.01)
    thread = ModelThread("test")
    deaf = Deaf()
    running = asyncio.create_task(thread.run(deaf, deaf.stop, deadline_at=monotonic() + 30))
    await deaf.has_begun()
    await thread.close()
    with pytest.raises(NotReady):
        await running
    assert not deaf.released.is_set()
    deaf.released.set()


async def test_work_that_was_told_to_stop_and_does_not_makes_the_thread_stuck(thread, monkeypatch):
    """Calls to a model that hangs for good fail at once, and not each at its deadline."""
    deaf = Deaf()
    with pytest.raises(DeadlineExceeded):
        await thread.run(deaf, deaf.stop, deadline_at=monotonic() + 0.01)
    assert not thread.is_stuck()
    monkeypatch.setattr(thread_module, "STUCK_AFTER_S", 0.0)
    assert thread.is_stuck()
    deaf.released.set()
    await settled(thread)
    assert not thread.is_stuck()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have their own niceness on Linux alone")
async def test_a_niced_thread_is_niced_alone():
    """Work that no client waits for gives way to work that one does."""
    thread = ModelThread("test", niceness=7)
    own = await thread.run(
        lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), ignore, deadline_at=monotonic() + 30
    )
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    await thread.close()
    assert ours + 7 == own


def test_a_thread_that_hangs_does_not_keep_the_process():
    """A gateway exits, whatever its models do."""
    script = """
import asyncio, threading
from time import monotonic
from runners.core.thread import ModelThread
async def main():
    thread = ModelThread("test")
    try:
        await thread.run(threading.Event().wait, lambda: None, deadline_at=monotonic() + 0.05)
    except Exception as error:
        print(type(error).__name__)
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "DeadlineExceeded\n" == ended.stdout
