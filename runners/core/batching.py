"""The batcher: callers wait here while an engine runs, and whoever has come meanwhile is run together next.

    infer ──► waiting ──► a batch ──► engine ──► each caller's rows
                 │           ▲          │
              expired        └─ halves ─┘ of a batch that failed, down to the one call whose fault it is

Nothing is held back to make a batch larger unless `max_wait_s` says so: the busier the model, the larger its batches.
The batcher lives on the event loop; what an engine is, a thread, a GPU or a socket, it does not know.
"""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Protocol, runtime_checkable

from msgspec import Struct

from runners.core.batch import Batch, Call, Ran, RowsLost
from runners.core.batch_counts import BatchCounts
from runners.core.errors import DeadlineExceeded, NotReady, Overloaded, RunnerError, untried
from runners.core.tensor import InferenceRequest, InferenceResponse

LOG = logging.getLogger("turnout.batching")
BATCH_BYTES = 64 << 20  # of inputs joined for one run: the joined copy is the only memory a batch adds
WAITING_N = 512  # calls waiting or under way; with batches of 64, what eight runs take
# A run that a caller's deadline meets is called overdue when it took ten times as long as any before it.
OVERDUE_TIMES = 10
OVERDUE_S = 0.1


class Limits(Struct, frozen=True):
    """Bounds of a batcher.

    `max_rows` in one run; a call with more is run alone, and with 1 every call is. `max_wait_s` is how long the first
    call of a batch may be held back for others. `waiting_n` is how many calls may wait or be under way.
    """

    max_rows: int = 64
    max_wait_s: float = 0.0
    waiting_n: int = WAITING_N


class BatchEngine(Protocol):
    """Runs one batch at a time. All methods are called on the event loop."""

    def start(self, batch: Batch, done: "Done") -> Callable[[], None]:
        """Begin: wherever the engine computes, `outputs = run(batch.join())`, then `batch.deal(outputs)`.

        Calls `done` on the event loop once the engine is free again, with what was dealt or with what went wrong.
        Returns what tells the run to stop; it may be called when the run has ended already.
        """
        ...

    def is_stuck(self) -> bool:
        """Whether a run was told to stop a while ago and has not."""
        ...

    async def close(self) -> None: ...


Done = Callable[[Ran | None, BaseException | None], None]


@runtime_checkable
class Batches(Protocol):
    """An endpoint whose calls go through a batcher, at least at times."""

    batch_counts: BatchCounts


class Batcher:
    """An endpoint around an engine. Created on the event loop whose callers it answers.

    `together` says whether calls may share a run at all; it turns false for good when an engine loses rows, and
    `apart_because` says why.
    """

    def __init__(self, name: str, engine: BatchEngine, limits: Limits, counts: BatchCounts) -> None:
        self._name = name  # of the model, for the log
        self._engine = engine
        self._limits = limits
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Call, None] = {}  # in the order they came
        self._waiting_rows_n = 0
        counts.queue = self._waiting
        self._pending: set[Call] = set()  # waiting or under way
        self._halves: list[Batch] = []  # of failed batches, the next one last
        self._running: Batch | None = None
        self._stop: Callable[[], None] = _nothing
        self._alarm: asyncio.Handle | None = None
        self._begins_soon = False
        self._longest_s = 0.0
        self._closed = False
        self.together = limits.max_rows > 1
        self.apart_because = ""

    def ready(self) -> bool:
        return not self._closed and not self._engine.is_stuck()

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        """Answer by `deadline_at` whatever the engine does.

        Raises Overloaded, NotReady, DeadlineExceeded, and whatever a run with this request in it raises when the
        request is alone.
        """
        self._refuse_if_vain(deadline_at)
        now = monotonic()
        call = Call(request, deadline_at, now, self._loop.create_future())
        timer = self._loop.call_later(deadline_at - now, self._expire, call)
        self._pending.add(call)
        self._waiting[call] = None
        self._waiting_rows_n += call.rows_n
        if self._running is None:
            self._schedule()
        try:
            return await call.future
        except asyncio.CancelledError:
            self._leave(call)
            raise
        finally:
            self._pending.discard(call)
            timer.cancel()
            call.batch = None  # which holds the call: in a ring its tensors would stay until the collector comes

    async def close(self) -> None:
        """Fail all that wait with NotReady and let go of the engine; closing twice is harmless."""
        self._closed = True
        for call in self._pending:
            call.gone = True
            if not call.future.done():
                call.future.set_exception(untried(NotReady("the model was closed")))
        self._waiting.clear()
        self._halves.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        await self._engine.close()

    def _refuse_if_vain(self, deadline_at: float) -> None:
        if self._closed:
            raise untried(NotReady("the model is closed"))
        if self._engine.is_stuck():
            raise NotReady("a run was told to stop and does not")
        if deadline_at <= monotonic():
            raise untried(DeadlineExceeded("the deadline had passed before the model was called"))
        if len(self._pending) >= self._limits.waiting_n:
            raise Overloaded(f"{self._limits.waiting_n} calls wait for the model already")

    def _schedule(self) -> None:
        """Have a run begin at the end of this turn, so that whoever comes in the same turn is in it, or when due."""
        wait_s = 0.0
        if self._limits.max_wait_s and self._waiting_rows_n < self._limits.max_rows:
            wait_s = next(iter(self._waiting)).entered_at + self._limits.max_wait_s - monotonic()
        if self._alarm is None and wait_s > 0:
            self._alarm = self._loop.call_later(wait_s, self._begin)
        elif wait_s <= 0 and not self._begins_soon:
            self._begins_soon = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._begins_soon = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._running is not None or self._closed:
            return
        batch = self._next_half() or self._form()
        if batch is None:
            return
        self._running = batch
        batch.started_at = monotonic()
        self._stop = self._engine.start(batch, self._done)

    def _next_half(self) -> Batch | None:
        while self._halves:
            half = self._halves.pop()
            if half.wanted_n:
                return half
        return None

    def _form(self) -> Batch | None:
        """The next batch: the call that has waited longest, and those after it that can be run with it."""
        now = monotonic()
        calls: list[Call] = []
        rows_n = bytes_n = 0
        for call in list(self._waiting):
            if call.deadline_at <= now:
                self._expire(call)  # its timer is late
                continue
            if calls:
                if call.key != calls[0].key:
                    continue
                if rows_n + call.rows_n > self._limits.max_rows or bytes_n + call.bytes_n > BATCH_BYTES:
                    break
            calls.append(call)
            rows_n, bytes_n = rows_n + call.rows_n, bytes_n + call.bytes_n
            if call.key is None or not self.together:
                break
        for call in calls:
            self._forget(call)
        return Batch(calls, run=next(self._counts.runs)) if calls else None

    def _done(self, ran: Ran | None, error: BaseException | None) -> None:
        batch, self._running, self._stop = self._running, None, _nothing
        if batch is None:
            return
        if ran is not None:
            self._longest_s = max(self._longest_s, monotonic() - batch.started_at)
            self._counts.count_run(rows_n=batch.rows_n, calls_n=len(ran.calls))
        elif error is not None:
            self._settle(batch, error)
        if self._halves or (self._waiting and not self._limits.max_wait_s):
            self._begin()  # before anybody is answered: the engine shall not wait for that
        elif self._waiting:
            self._schedule()
        if ran is not None:
            _answer(batch, ran)

    def _settle(self, batch: Batch, error: BaseException) -> None:
        """A run has failed: tell its only caller, or find out whose fault it was by running halves."""
        calls = [call for call in batch.calls if not call.gone]
        was_stopped = isinstance(error, DeadlineExceeded | NotReady) and not batch.is_overdue
        batch.is_lost = batch.is_lost or was_stopped
        if len(batch.calls) == 1 or was_stopped:
            for call in calls:
                if not call.future.done():
                    call.future.set_exception(_told(error, batch))
        elif isinstance(error, RowsLost):
            self._stay_apart(str(error))
            self._halves += [Batch([call], batch) for call in reversed(calls)]
        else:
            self._counts.bisections_n += 1
            middle = (len(calls) + 1) // 2
            self._halves += [Batch(half, batch) for half in (calls[middle:], calls[:middle]) if half]

    def _stay_apart(self, why: str) -> None:
        self.together = False
        self.apart_because = why
        LOG.warning("%s: calls are run one by one from now on: %s", self._name, why)

    def _expire(self, call: Call) -> None:
        if call.future.done():
            return
        error = DeadlineExceeded("the deadline passed before the model had answered")
        batch = call.batch
        if batch is None:
            self._counts.expired_n += 1
            error.is_untried = True
        else:
            batch.is_lost = batch.is_lost or (batch is self._running and self._is_overdue(batch))
            error.run, error.loses_run = batch.run, batch.is_lost
        call.future.set_exception(error)
        self._leave(call)

    def _leave(self, call: Call) -> None:
        """Nobody waits for this call any more. The run it is in ends when that holds for all, or when it hangs."""
        if call.gone:
            return
        call.gone = True
        if call in self._waiting:
            self._forget(call)
            return
        batch = call.batch
        if batch is None:
            return
        batch.wanted_n -= 1
        if batch is self._running:
            batch.is_overdue = batch.wanted_n > 0 and self._is_overdue(batch)
            if batch.is_overdue or not batch.wanted_n:
                self._stop()

    def _is_overdue(self, batch: Batch) -> bool:
        return monotonic() - batch.started_at > max(OVERDUE_S, OVERDUE_TIMES * self._longest_s)

    def _forget(self, call: Call) -> None:
        del self._waiting[call]
        self._waiting_rows_n -= call.rows_n


def _answer(batch: Batch, ran: Ran) -> None:
    rows_n, began_at = batch.rows_n, batch.started_at
    for call, outputs in zip(ran.calls, ran.outputs, strict=True):
        if not call.future.done():
            call.future.set_result(InferenceResponse(outputs, rows_n, began_at - call.entered_at, batch.run))


def _told(error: BaseException, batch: Batch) -> BaseException:
    """An exception of the same kind: one that several callers raise would gather the tracebacks of all."""
    if not isinstance(error, RunnerError):
        return error
    told = type(error)(*error.args)
    told.is_untried, told.run, told.loses_run = error.is_untried, batch.run, batch.is_lost
    return told


def _nothing() -> None:
    return
