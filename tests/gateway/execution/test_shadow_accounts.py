"""Whatever happens in whatever order: every shadow call that was due is made or dropped, once, and nothing is kept."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.execution.outcome import Outcome
from gateway.execution.shadows import ShadowBounds, ShadowPool
from runners.core.errors import DeadlineExceeded, ExecutionFailed
from runners.core.tensor import InferenceResponse, Tensor, bytes_of

BOUNDS = ShadowBounds(
    calls=2, queue=3, bytes=200_000, per_second=1e9
)  # no rest between calls: time must not decide what a run does
WAYS = (DeadlineExceeded("x"), ExecutionFailed("x"), ValueError("not of the contract"), 4, 50_000)


class Hanging:
    """An arm whose calls end when and how the test says."""

    def __init__(self) -> None:
        self.open: list[asyncio.Future[InferenceResponse]] = []
        self.is_ready = True

    def ready(self) -> bool:
        return self.is_ready

    async def infer(self, request, /, *, deadline_at: float) -> InferenceResponse:
        self.open.append(asyncio.get_running_loop().create_future())
        return await self.open[-1]

    def end(self, number: int, way: Exception | int) -> None:
        future = self.open.pop(number % len(self.open))
        if future.done():
            return
        if isinstance(way, Exception):
            future.set_exception(way)
        else:
            future.set_result(answer(way))


def answer(size: int) -> InferenceResponse:
    return InferenceResponse((Tensor("y", "UINT8", np.zeros(size, np.uint8)),))


class Accounts(RuleBasedStateMachine):
    """Offers, answers, failures, requests, a broken recorder and a stop, in any order."""

    bind: ClassVar[Callable]
    route_request: ClassVar[Callable]
    arrive: ClassVar[Callable]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.arm = Hanging()
        self.route = self.bind(strategy={"kind": "baseline"}, shadow=[{"candidate": "new"}])
        shadowed = self.route.arms[1].endpoint
        shadowed.ready, shadowed.infer = self.arm.ready, self.arm.infer
        self.meter = self.route.meter
        self.reports: Counter[str] = Counter()
        self.begun_n = 0
        self.is_recording = True
        self.pool = ShadowPool(self.report, BOUNDS)

    def report(self, result) -> None:
        self.reports[result.dropped or result.outcome] += 1
        if not self.is_recording:
            raise OSError("disk full")

    def turn(self, step=None) -> None:
        async def some() -> None:
            if step:
                step()
            for _ in range(8):
                await asyncio.sleep(0)

        self.loop.run_until_complete(some())

    @rule(size=st.sampled_from([4, 30_000, 90_000, 1_000_000]), is_stale=st.booleans(), is_answered=st.booleans())
    def offer(self, size, is_stale, is_answered) -> None:
        """A request was answered, or not, and the shadow was drawn for it; a stale one has no time left."""
        routed = self.route_request(self.route, budget_s=-1.0 if is_stale else 600.0)
        answered = Outcome(answer(size) if is_answered else ExecutionFailed("x"), None, ())
        self.turn(lambda: self.pool.offer(routed, answered, self.arrive()))

    @precondition(lambda self: self.arm.open)
    @rule(number=st.integers(0, 5), way=st.sampled_from(WAYS))
    def end_call(self, number, way) -> None:
        self.turn(lambda: self.arm.end(number, way))

    @rule()
    def begin_request(self) -> None:
        self.begun_n += 1
        self.turn(self.pool.idle.begin)

    @precondition(lambda self: self.begun_n)
    @rule()
    def end_request(self) -> None:
        self.begun_n -= 1
        self.turn(self.pool.idle.end)

    @rule(is_ready=st.booleans(), is_recording=st.booleans())
    def change(self, is_ready, is_recording) -> None:
        self.arm.is_ready, self.is_recording = is_ready, is_recording

    @rule()
    def close(self) -> None:
        self.loop.run_until_complete(self.pool.close(grace_s=0))
        assert self.pool.pending_n == 0

    @invariant()
    def every_call_is_accounted_for(self) -> None:
        assert len(self.meter.due) == self.reports.total() + self.pool.pending_n

    @invariant()
    def bounds_are_kept(self) -> None:
        own = BOUNDS.calls * bytes_of(answer(50_000).outputs)  # known only when they are there
        assert self.pool.pending_n <= BOUNDS.calls + BOUNDS.queue
        assert self.pool.held_bytes <= BOUNDS.bytes + own
        assert self.pool.pending_n or not self.pool.held_bytes

    def teardown(self) -> None:
        self.loop.run_until_complete(self.pool.close(grace_s=0))
        assert len(self.meter.due) == self.reports.total()
        assert self.pool.held_bytes == 0
        self.loop.close()


def test_made_and_dropped_add_up_to_due_whatever_happens(bind, route_request, arrive):
    fakes = {"bind": bind, "route_request": route_request, "arrive": arrive}
    cases = type("FakedAccounts", (Accounts,), {name: staticmethod(fake) for name, fake in fakes.items()}).TestCase
    cases.settings = settings(
        max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    cases().runTest()
