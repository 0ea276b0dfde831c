"""The shadow pool: calls that no client waits for, made in idle moments, under bounds that no client can feel.

Every call that is due ends in exactly one report, made or dropped. Until then it waits or is under way.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic

from msgspec import Struct

from gateway.arrival import Arrival
from gateway.comparing.capture import captured
from gateway.comparing.comparer import Comparer
from gateway.comparing.likeness import Likeness
from gateway.execution.idle import Idle
from gateway.execution.outcome import CallRole, Observation, Outcome, Routed
from gateway.execution.pace import Pace
from gateway.routing.table import BoundArm, BoundRoute, ShadowTerms
from runners.core.errors import RunnerError
from runners.core.runner import Endpoint
from runners.core.tensor import InferenceResponse, bytes_of

LOG = logging.getLogger("turnout.shadows")
NOT_COMPARED = -1.0
MATCH_AT = 1.0  # a shadow matches when every element agrees
PLAIN_TERMS = ShadowTerms()
PATIENCE = 2.0  # a call waits for an idle moment for so many times its request's budget, counted from the arrival


class ShadowBounds(Struct, frozen=True):
    """How much the pool may hold: calls under way, calls waiting, and bytes of tensors kept for both.

    `per_second` is how many calls may start in a second, evenly, beside few requests; beside many they are fewer
    (pace.py). One to a small model costs some 0.2 ms of processor time (docs/shadows.md): 500 take a tenth of a core.

    A shadow's own answer counts from when it is there until it is compared. Nobody knows its size before, so it may go
    over `bytes`; until it is gone nothing more is taken or started.
    """

    calls: int = 4
    queue: int = 256
    bytes: int = 64 * 1024 * 1024
    per_second: float = 500.0


class ShadowCall(Struct, frozen=True):
    """One shadow call to be made, with the answer it will be compared to."""

    bound: BoundArm
    routed: Routed
    outcome: Outcome
    arrival: Arrival
    size: int

    @property
    def budget_s(self) -> float:
        """How long the request might take, and so its shadow, from when that starts."""
        return self.routed.deadline_at - self.arrival.started_at

    @property
    def terms(self) -> ShadowTerms:
        """How the route wants it compared."""
        return self.routed.route.shadow_terms.get(self.bound.arm.name, PLAIN_TERMS)

    @property
    def expires_at(self) -> float:
        """When it is too late to start, on the monotonic clock."""
        return self.arrival.started_at + PATIENCE * self.budget_s


class ShadowResult(Struct, frozen=True):
    """What became of a shadow call. `dropped` says why it was not made, `likeness` is None when not compared.

    `served` and `shadowed` are both answers as text where the route captures them and they differ, else "".
    """

    call: ShadowCall
    outcome: str
    dropped: str = ""
    likeness: Likeness | None = None
    observation: Observation | None = None
    served: str = ""
    shadowed: str = ""

    @property
    def agreement(self) -> float:
        """The share of elements alike, -1 when not compared."""
        return self.likeness.agreement if self.likeness else NOT_COMPARED


class ShadowPool:
    """Makes shadow calls once their answer is in hand. Everything it does not do is reported with the reason."""

    def __init__(self, report: Callable[[ShadowResult], None], bounds: ShadowBounds | None = None) -> None:
        self.idle = Idle(self._start_one)
        self._report = report
        self._bounds = bounds or ShadowBounds()
        self._pace = Pace(self._bounds.per_second, monotonic())
        self._comparer = Comparer()
        self._waiting: deque[ShadowCall] = deque()
        self._under_way: dict[asyncio.Task[ShadowResult], ShadowCall] = {}
        self._held_bytes = 0
        self._expiry: asyncio.TimerHandle | None = None  # set while anything waits
        self._rest: asyncio.TimerHandle | None = None  # set while the next start has to wait
        self._expires_at = 0.0  # when that timer goes off, on the monotonic clock
        self._is_open = True

    @property
    def pending_n(self) -> int:
        """Calls that were due and are not reported yet."""
        return len(self._waiting) + len(self._under_way)

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def holds(self, route: BoundRoute) -> bool:
        """Whether a call of that route waits or is under way, under this table or an earlier one that had it."""
        meter = route.meter
        return any(call.routed.route.meter is meter for call in (*self._waiting, *self._under_way.values()))

    def offer(self, routed: Routed, outcome: Outcome, arrival: Arrival) -> None:
        """Take a shadow call for each arm the decision drew, or report why not. Never waits, never raises."""
        try:
            self._take(routed, outcome, arrival)
        except Exception:  # a mistake of ours that a client must not pay for
            LOG.exception("shadows of route %s", routed.route.name)

    def _take(self, routed: Routed, outcome: Outcome, arrival: Arrival) -> None:
        size = _bytes_of(routed, outcome)
        for arm in routed.decision.shadows:
            call = ShadowCall(routed.route.arms[arm.index], routed, outcome, arrival, size)
            routed.route.meter.begin_shadow(arm.name)
            reason = self._refusal(call)
            if reason:
                self._finish(_dropped(call, reason))
            else:
                self._held_bytes += size
                self._waiting.append(call)
                self._expire_in_time(call)
        self._ask_for_a_moment()

    async def close(self, grace_s: float) -> None:
        """Drop what waits, give what runs `grace_s` seconds, then cancel it."""
        self._is_open = False
        while self._waiting:
            self._drop(self._waiting.popleft(), "shutdown")
        for timer in (self._expiry, self._rest):
            if timer:
                timer.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_s)
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._comparer.close()

    def _refusal(self, call: ShadowCall) -> str:
        if not self._is_open:
            return "shutdown"
        if not _endpoint(call).ready():
            return "not_ready"
        if self._held_bytes + call.size > self._bounds.bytes:
            return "bytes"
        return "" if self._has_room() else "queue"

    def _has_room(self) -> bool:
        """Whether one more may wait. What could start at once in an idle moment does not count as waiting."""
        return self.pending_n < self._bounds.queue + self._bounds.calls

    def _can_start(self) -> bool:
        is_over = self._held_bytes > self._bounds.bytes  # for as long as a large answer is compared
        return len(self._under_way) < self._bounds.calls and not (is_over and self._under_way)

    def _ask_for_a_moment(self) -> None:
        if self._rest is None and self._waiting and self._can_start():
            self.idle.want()

    def _end_rest(self) -> None:
        self._rest = None
        self._ask_for_a_moment()

    def _start_one(self) -> None:
        """Start the call that has waited longest. Only one in each idle moment: clients may have come meanwhile."""
        while self._waiting and self._can_start():
            call = self._waiting.popleft()
            if monotonic() > call.expires_at:
                self._drop(call, "expired")
            elif not _endpoint(call).ready():
                self._drop(call, "not_ready")
            else:
                loop = asyncio.get_running_loop()
                self._rest = loop.call_later(self._pace.rest_s(monotonic(), self.idle.begun_n), self._end_rest)
                task = loop.create_task(self._observe(call))
                self._under_way[task] = call
                task.add_done_callback(partial(self._settle, call))
                break
        self._ask_for_a_moment()

    def _settle(self, call: ShadowCall, task: "asyncio.Task[ShadowResult]") -> None:
        self._under_way.pop(task, None)
        self._held_bytes -= call.size
        if task.cancelled():
            self._finish(_dropped(call, "shutdown"))
        elif (error := task.exception()) is not None:  # comparing broke: a shadow's trouble stays the shadow's
            LOG.error("shadow of arm %s", call.bound.arm.name, exc_info=error)
            self._finish(ShadowResult(call, "failed"))
        else:
            self._finish(task.result())
        self._ask_for_a_moment()

    def _expire_in_time(self, call: ShadowCall) -> None:
        if self._expiry is None or self._expires_at > call.expires_at:
            if self._expiry:
                self._expiry.cancel()
            wait_s = max(0.0, call.expires_at - monotonic())
            self._expiry = asyncio.get_running_loop().call_later(wait_s, self._expire)
            self._expires_at = call.expires_at

    def _expire(self) -> None:
        """Drop what no idle moment came for in time."""
        self._expiry = None
        now, waiting = monotonic(), self._waiting
        self._waiting = deque(call for call in waiting if call.expires_at > now)
        for call in waiting:
            if call.expires_at <= now:
                self._drop(call, "expired")
        if self._waiting:
            self._expire_in_time(min(self._waiting, key=lambda call: call.expires_at))

    def _drop(self, call: ShadowCall, reason: str) -> None:
        self._held_bytes -= call.size
        self._finish(_dropped(call, reason))

    def _finish(self, result: ShadowResult) -> None:
        try:
            self._report(result)
        except Exception:
            LOG.exception("a shadow call could not be recorded")

    async def _observe(self, call: ShadowCall) -> ShadowResult:
        """Call the shadow arm under a budget of its own, as long as the request's, and compare."""
        started_at = monotonic()
        try:
            response = await _endpoint(call).infer(call.routed.request, deadline_at=started_at + call.budget_s)
        except RunnerError as error:
            seen = Observation(call.bound, CallRole.SHADOW, error.code, started_at, monotonic() - started_at)
            return ShadowResult(call, "failed", observation=seen)
        seen = Observation(call.bound, CallRole.SHADOW, "", started_at, monotonic() - started_at)
        served = call.outcome.answer
        if not isinstance(served, InferenceResponse):  # nobody answered the client: there is nothing to compare to
            return ShadowResult(call, "uncompared", observation=seen)
        alike = await self._compare(call, served, response)
        verdict = _verdict(alike)
        texts = captured(served, response) if verdict == "mismatch" and call.terms.capture else ("", "")
        return ShadowResult(call, verdict, likeness=alike, observation=seen, served=texts[0], shadowed=texts[1])

    async def _compare(
        self, call: ShadowCall, served: InferenceResponse, response: InferenceResponse
    ) -> Likeness | None:
        size = bytes_of(response.outputs)
        self._held_bytes += size
        try:
            return await self._comparer.compare(
                served, response, deadline_at=monotonic() + call.budget_s, tolerance=call.terms.tolerance
            )
        finally:
            self._held_bytes -= size


def _endpoint(call: ShadowCall) -> Endpoint:
    return call.bound.background or call.bound.endpoint


def _dropped(call: ShadowCall, reason: str) -> ShadowResult:
    return ShadowResult(call, "dropped", dropped=reason)


def _verdict(alike: Likeness | None) -> str:
    if alike is None:
        return "uncompared"
    return "match" if alike.agreement == MATCH_AT and not alike.invalid else "mismatch"


def _bytes_of(routed: Routed, outcome: Outcome) -> int:
    answer = outcome.answer.outputs if isinstance(outcome.answer, InferenceResponse) else ()
    return bytes_of((*routed.request.inputs, *answer))
