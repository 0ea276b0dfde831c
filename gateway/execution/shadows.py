"""The shadow pool: calls that no client waits for, under bounds that no client can feel."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic

from msgspec import Struct

from gateway.arrival import Arrival
from gateway.comparing.tensors import agreement
from gateway.execution.outcome import CallRole, Observation, Outcome, Routed
from gateway.routing.table import BoundArm
from runners.core.errors import RunnerError
from runners.core.tensor import InferenceResponse

LOG = logging.getLogger("turnout.shadows")
MATCH_AT = 1.0  # a shadow matches when every element agrees


class ShadowBounds(Struct, frozen=True):
    """How much the pool may hold: calls under way, calls waiting, and bytes of tensors kept for both."""

    calls: int = 4
    queue: int = 256
    bytes: int = 64 * 1024 * 1024


class ShadowCall(Struct, frozen=True):
    """One shadow call to be made, with the answer it will be compared to."""

    bound: BoundArm
    routed: Routed
    outcome: Outcome
    arrival: Arrival
    size: int


class ShadowResult(Struct, frozen=True):
    """What became of a shadow call. `dropped` says why it was not made, `agreement` is -1 when not compared."""

    call: ShadowCall
    outcome: str
    dropped: str = ""
    agreement: float = -1.0
    observation: Observation | None = None


class ShadowPool:
    """Makes shadow calls once their answer is in hand. Everything it does not do is reported with the reason."""

    def __init__(self, report: Callable[[ShadowResult], None], bounds: ShadowBounds | None = None) -> None:
        self._report = report
        self._bounds = bounds or ShadowBounds()
        self._waiting: deque[ShadowCall] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._held_bytes = 0
        self._is_open = True

    def offer(self, routed: Routed, outcome: Outcome, arrival: Arrival) -> None:
        """Take a shadow call for each arm the decision drew, or report why not. Never waits, never raises."""
        size = _bytes_of(routed, outcome)
        for arm in routed.decision.shadows:
            call = ShadowCall(routed.route.arms[arm.index], routed, outcome, arrival, size)
            reason = self._refusal(call)
            if reason:
                self._finish(ShadowResult(call, "dropped", dropped=reason))
            else:
                self._held_bytes += size
                self._start_or_queue(call)

    async def close(self, grace_s: float) -> None:
        """Drop what waits, give what runs `grace_s` seconds, then cancel it."""
        self._is_open = False
        while self._waiting:
            self._drop(self._waiting.popleft(), "shutdown")
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_s)
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _refusal(self, call: ShadowCall) -> str:
        if not self._is_open:
            return "shutdown"
        if not (call.bound.background or call.bound.endpoint).ready():
            return "not_ready"
        if self._held_bytes + call.size > self._bounds.bytes:
            return "bytes"
        if len(self._under_way) >= self._bounds.calls and len(self._waiting) >= self._bounds.queue:
            return "queue"
        return ""

    def _start_or_queue(self, call: ShadowCall) -> None:
        if len(self._under_way) >= self._bounds.calls:
            self._waiting.append(call)
            return
        task = asyncio.get_running_loop().create_task(self._run(call))
        self._under_way.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        while self._waiting and len(self._under_way) < self._bounds.calls:
            call = self._waiting.popleft()
            if monotonic() - call.arrival.started_at > _budget_s(call) * 2:
                self._drop(call, "expired")
            else:
                self._start_or_queue(call)

    async def _run(self, call: ShadowCall) -> None:
        try:
            self._finish(await _observe(call))
        except asyncio.CancelledError:
            self._finish(ShadowResult(call, "dropped", dropped="shutdown"))
        except Exception:  # comparing or reporting broke: a shadow's trouble stays the shadow's
            LOG.exception("shadow of arm %s", call.bound.arm.name)
            self._finish(ShadowResult(call, "failed"))
        finally:
            self._held_bytes -= call.size

    def _drop(self, call: ShadowCall, reason: str) -> None:
        self._held_bytes -= call.size
        self._finish(ShadowResult(call, "dropped", dropped=reason))

    def _finish(self, result: ShadowResult) -> None:
        try:
            self._report(result)
        except Exception:
            LOG.exception("a shadow call could not be recorded")


async def _observe(call: ShadowCall) -> ShadowResult:
    """Call the shadow arm under a budget of its own, as long as the request's, and compare."""
    endpoint = call.bound.background or call.bound.endpoint
    started_at = monotonic()
    cause, alike = "", -1.0
    try:
        response = await endpoint.infer(call.routed.request, deadline_at=started_at + _budget_s(call))
    except RunnerError as error:
        cause = error.code
    else:
        served = call.outcome.answer
        alike = agreement(served, response) if isinstance(served, InferenceResponse) else -1.0
    seen = Observation(call.bound, CallRole.SHADOW, cause, started_at, monotonic() - started_at)
    return ShadowResult(call, _verdict(cause, alike), agreement=alike, observation=seen)


def _verdict(cause: str, alike: float) -> str:
    if cause:
        return "failed"
    if alike < 0:
        return "uncompared"  # nobody answered the client, so there is nothing to compare to
    return "match" if alike == MATCH_AT else "mismatch"


def _budget_s(call: ShadowCall) -> float:
    return call.routed.deadline_at - call.arrival.started_at


def _bytes_of(routed: Routed, outcome: Outcome) -> int:
    answer = outcome.answer.outputs if isinstance(outcome.answer, InferenceResponse) else ()
    return sum([tensor.array.nbytes for tensor in (*routed.request.inputs, *answer)])
