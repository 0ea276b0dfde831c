"""Runs on the event loop, shared by whoever comes in the same turn of it.

    first of a turn ──► a run of its own, at once ──┐ if calls met in the turn before, of this model or others
    the others      ──► waiting ◄───────────────────┘
                          └──► one run for all of them, in the next turn ──► each caller's rows

A lone caller waits for nothing; where many come at once, a run costs them little more than it costs one, and one more
run than they need would cost each of them a part. Nothing waits for longer than a turn, so there is no timer here: a
deadline is looked at when its call is run.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from time import monotonic

from msgspec import Struct

from runners.core.batch import Key, Outputs, RowsLost, dealt, joined, key_of
from runners.core.batch_counts import BatchCounts
from runners.core.errors import DeadlineExceeded, NotReady, RunnerError, untried
from runners.core.tensor import InferenceRequest, InferenceResponse, rows_of

LOG = logging.getLogger("turnout.batching")

Run = Callable[[InferenceRequest], Outputs]


class _Waiting(Struct, frozen=True, gc=False):
    """A call that is run at the end of its turn."""

    request: InferenceRequest
    deadline_at: float
    entered_at: float
    future: "asyncio.Future[InferenceResponse]"


class Turn:
    """One turn of the event loop after the other, as all models see it that are run there.

    Their runs follow each other at its end, and but for the first they find the runtime's code in the caches.
    `have_met` says that calls waited together, of whichever models, in the turn before.
    """

    def __init__(self) -> None:
        self.have_met = False
        self._begun: list[Turns] = []

    def begin(self, turns: "Turns") -> None:
        """This model has had its first call in this turn."""
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._end)
        self._begun.append(turns)

    def _end(self) -> None:
        begun, self._begun = self._begun, []
        self.have_met = sum([turns.waiting_n for turns in begun]) > 1
        for turns in begun:
            turns.end_turn()


class Turns:
    """Answers calls of a model that is run on the event loop on which this was created.

    `run` must be quick: everybody waits for it. A shared run has at most `max_rows` rows. All models on the loop share
    `turn`.
    """

    def __init__(self, run: Run, max_rows: int, counts: BatchCounts, turn: Turn) -> None:
        self._run = run
        self._max_rows = max_rows
        self._counts = counts
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._has_begun = False  # this turn of the loop has had its first call
        self.together = max_rows > 1

    @property
    def waiting_n(self) -> int:
        """Calls that wait for the end of the turn."""
        return len(self._waiting)

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        """Raises DeadlineExceeded, NotReady, and whatever a run of this request alone raises."""
        is_first = not self._has_begun
        if is_first and self.together:
            self._has_begun = True
            self._turn.begin(self)
        if not self.together or (is_first and not self._turn.have_met):
            _refuse_if_late(deadline_at, monotonic())
            return InferenceResponse(self._run(request))
        future: asyncio.Future[InferenceResponse] = self._loop.create_future()
        self._waiting.append(_Waiting(request, deadline_at, monotonic(), future))
        return await future

    def close(self) -> None:
        """Fail all that wait with NotReady."""
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            if not call.future.done():
                call.future.set_exception(untried(NotReady("the model was closed")))

    def end_turn(self) -> None:
        """Run what waits."""
        waiting, self._waiting = self._waiting, []
        self._has_begun = False
        for calls in self._groups(waiting):
            self._answer(calls)

    def _groups(self, waiting: list[_Waiting]) -> Iterator[list[_Waiting]]:
        """Those that can share a run, as they came; whoever has left is in none."""
        by_key: dict[Key | None, list[_Waiting]] = {}
        for call in waiting:
            if not call.future.done():
                by_key.setdefault(key_of(call.request), []).append(call)
        for key, calls in by_key.items():
            group: list[_Waiting] = []
            rows_n = 0
            for call in calls:
                rows_n += (mine_n := rows_of(call.request))
                if group and (rows_n > self._max_rows or key is None):
                    yield group
                    group, rows_n = [], mine_n
                group.append(call)
            yield group

    def _answer(self, calls: list[_Waiting]) -> None:
        if len(calls) == 1 or not self.together:
            for call in calls:
                self._answer_one(call)
            return
        now, run = monotonic(), next(self._counts.runs)
        requests = [call.request for call in calls]
        try:
            _refuse_if_late(min([call.deadline_at for call in calls]), now)
            outputs = dealt(self._run(joined(requests)), requests)
        except RowsLost as lost:
            self.together = False
            LOG.warning("calls are run one by one from now on: %s", lost)
            self._answer(calls)
        except Exception:  # noqa: BLE001  whatever went wrong, one by one it shows whose fault it is
            for call in calls:
                self._answer_one(call, run)
        else:
            rows_n = sum(map(rows_of, requests))
            self._counts.count_run(rows_n=rows_n, calls_n=len(calls))
            for call, mine in zip(calls, outputs, strict=True):
                call.future.set_result(InferenceResponse(mine, rows_n, now - call.entered_at, run))

    def _answer_one(self, call: _Waiting, run: int = 0) -> None:
        now = monotonic()
        try:
            _refuse_if_late(call.deadline_at, now)
            response = InferenceResponse(self._run(call.request), rows_of(call.request), now - call.entered_at, run)
        except Exception as error:  # noqa: BLE001  whatever the run raises belongs to its caller
            if isinstance(error, RunnerError):
                error.run = run
            call.future.set_exception(error)
        else:
            call.future.set_result(response)


def _refuse_if_late(deadline_at: float, now: float) -> None:
    if now >= deadline_at:
        raise untried(DeadlineExceeded("the deadline had passed before the model was called"))
