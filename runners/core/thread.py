"""One thread for one model: what runs there is bounded in number, told to stop in time, and never waited for.

Work is handed over on the event loop and its outcome comes back there. The deadline belongs to the loop's timer: a
caller is answered in time whether or not the model listens. Work whose deadline passed while it waited is never begun.
"""

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from math import inf
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from runners.core.errors import DeadlineExceeded, NotReady, Overloaded, untried

T = TypeVar("T")

DEFAULT_LIMIT_N = 64  # calls waiting or under way; a second of 15 ms calls, more would only miss their deadlines
STUCK_AFTER_S = 1.0  # told to stop and still running: the model does not listen, nobody should queue behind it
_LEAVE_S = 1.0  # how long close() waits for a run that was told to stop


Done = Callable[[Any, BaseException | None], None]


class _Item:
    """One piece of work on its way through the thread. `gone` says that nobody waits for it any more."""

    __slots__ = ("call", "deadline_at", "done", "gone", "stop", "stopped_at")

    def __init__(self, call: Callable[[], Any], stop: Callable[[], None], deadline_at: float, done: Done) -> None:
        self.call: Callable[[], Any] | None = call
        self.stop: Callable[[], None] | None = stop
        self.deadline_at = deadline_at
        self.done: Done | None = done
        self.gone = False
        self.stopped_at = 0.0

    def leave(self, error: Exception | None = None) -> None:
        """Tell the work to stop; it holds on to nothing afterwards. With `error`, tell whoever waits that as well."""
        if self.gone or self.call is None:
            return
        self.gone = True
        self.stopped_at = monotonic()
        if error is not None:
            self.tell(None, error)
        stop, self.stop, self.call = self.stop, None, None
        if stop is not None:
            stop()

    def expire(self) -> None:
        self.leave(DeadlineExceeded("the deadline passed before the model had answered"))

    def tell(self, outcome: object, error: BaseException | None) -> None:
        """Call `done`, unless that has been done."""
        done, self.done = self.done, None
        if done is not None:
            done(outcome, error)


class ModelThread:
    """A daemon thread that runs one piece of work at a time. Created on the event loop whose callers it answers.

    `limit_n` bounds the calls waiting or under way; `niceness` (0 to 19) is the thread's own, Linux only.
    """

    def __init__(self, name: str, *, limit_n: int = DEFAULT_LIMIT_N, niceness: int = 0, is_begun: bool = True) -> None:
        """With `is_begun` false nothing runs before `begin`."""
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._pending: dict[_Item, None] = {}  # in order; only the loop touches it
        self._limit_n = limit_n
        self._niceness = niceness
        self._closed = False
        self._ended = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        if is_begun:
            self._thread.start()
        # Native code that comes back to an interpreter which is being taken down aborts the process.
        atexit.register(self._leave)

    async def begin(self) -> None:
        """Start without holding up the loop: whoever starts a thread waits until it runs, on a busy machine long."""
        await asyncio.shield(asyncio.to_thread(self._thread.start))

    def is_stuck(self) -> bool:
        """Whether the work under way was told to stop a while ago and has not."""
        for item in self._pending:
            return item.gone and monotonic() - item.stopped_at > STUCK_AFTER_S
        return False

    def is_idle(self) -> bool:
        return not self._pending

    async def run(self, call: Callable[[], T], stop: Callable[[], None], *, deadline_at: float) -> T:
        """The outcome of `call`, made in the thread. `stop` is called on the loop, once, if it must end early.

        `stop` may come before `call` has begun, so it must leave a mark that `call` finds, as RunOptions.terminate
        does.
        Raises Overloaded, NotReady, DeadlineExceeded, and whatever `call` raises.
        """
        remaining_s = deadline_at - monotonic()
        if remaining_s <= 0:
            raise untried(DeadlineExceeded("the deadline had passed before the model was called"))
        if len(self._pending) >= self._limit_n:
            raise Overloaded(f"{self._limit_n} calls wait for the model already")
        future: asyncio.Future[T] = self._loop.create_future()
        item = self._put(call, stop, deadline_at, partial(_resolve, future))
        timer = self._loop.call_later(remaining_s, item.expire)
        try:
            return await future
        except asyncio.CancelledError:
            item.leave()
            raise
        finally:
            timer.cancel()

    def submit(self, call: Callable[[], Any], stop: Callable[[], None], done: Done) -> Callable[[], None]:
        """Like `run`, for one who bounds and times its work itself: nothing is awaited, and no timer set.

        `done` is called on the loop, once: with the outcome or what `call` raised when the thread is free again, or
        with NotReady when it is closed. Returns what has the work stopped. Raises NotReady.
        """
        return self._put(call, stop, inf, done).leave

    async def close(self) -> None:
        """Fail all that waits with NotReady, stop what runs, and give it a moment to end."""
        if not self._closed:
            self._closed = True
            for item in tuple(self._pending):
                item.leave(untried(NotReady("the model was closed")))
            self._queue.put(None)
        await asyncio.wait([self._ended], timeout=_LEAVE_S)
        if self._ended.done():
            atexit.unregister(self._leave)

    def _put(self, call: Callable[[], Any], stop: Callable[[], None], deadline_at: float, done: Done) -> _Item:
        if self._closed:
            raise untried(NotReady("the model is closed"))
        item = _Item(call, stop, deadline_at, done)
        self._pending[item] = None
        self._queue.put(item)
        return item

    def _leave(self) -> None:
        """At the end of the process: stop what nobody closed, and give it the same moment. The loop is gone by then."""
        for item in tuple(self._pending):
            stop, item.stop, item.call = item.stop, None, None
            if stop is not None:
                stop()
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(_LEAVE_S)

    def _work(self) -> None:
        nice_this_thread(self._niceness)
        while (item := self._queue.get()) is not None:
            outcome, error = _attempt(item)
            if not self._hand_back(self._deliver, item, outcome, error):
                return
            del item, outcome, error  # nothing is held while the next one is awaited
        self._hand_back(self._ended.set_result, None)

    def _hand_back(self, callback: Callable[..., None], *arguments: Any) -> bool:
        """Have the loop call `callback`; False when the loop is gone, and with it everyone who waited."""
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            return False
        return True

    def _deliver(self, item: _Item, outcome: object, error: BaseException | None) -> None:
        self._pending.pop(item, None)
        item.call = item.stop = None
        item.tell(outcome, error)


def _resolve(future: asyncio.Future[Any], outcome: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(outcome)
    else:
        future.set_exception(error)


def _attempt(item: _Item) -> tuple[Any, BaseException | None]:
    call = item.call  # read once: the loop may take it away
    if call is None:
        return None, None
    if monotonic() >= item.deadline_at:
        return None, untried(DeadlineExceeded("the deadline passed while the call waited for the model"))
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001  whatever the work raises belongs to its caller
        return None, error
    except BaseException as error:  # noqa: BLE001  one that would end the thread must not leave its callers hanging
        return None, RuntimeError(repr(error))


def nice_this_thread(niceness: int) -> None:
    """Have the calling thread, and no other, be at least so nice (0 to 19). Nothing happens but on Linux.

    A thread that is nicer already stays so: to take that back needs privileges.
    """
    thread = threading.get_native_id()
    if sys.platform == "linux" and niceness > os.getpriority(os.PRIO_PROCESS, thread):
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
