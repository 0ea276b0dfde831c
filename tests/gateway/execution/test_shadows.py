"""Shadows: bounded, compared, and unable to touch an answer."""

import asyncio
import threading

import numpy as np
import pytest
from msgspec.structs import replace

from gateway.comparing.likeness import Likeness
from gateway.execution.executor import execute
from gateway.execution.shadows import ShadowBounds, ShadowPool
from runners.core import thread
from runners.core.errors import ExecutionFailed
from runners.core.tensor import InferenceResponse, Tensor

SHADOWED = {"strategy": {"kind": "baseline"}, "shadow": [{"candidate": "new"}]}


class Reports(list):
    """Everything the pool reported, and a way to wait for it."""

    def __call__(self, result) -> None:
        self.append(result)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self) < count:
                await asyncio.sleep(0.001)

    def outcomes(self) -> list[str]:
        return [result.dropped or result.outcome for result in self]


@pytest.fixture
def reports() -> Reports:
    return Reports()


async def offer(pool, route_request, route, arrive) -> None:
    routed = route_request(route)
    pool.offer(routed, await execute(routed), arrive())


async def test_a_shadow_that_agrees_is_a_match(bind, endpoints, route_request, arrive, reports):
    endpoints["new"].number = endpoints["old"].number
    await offer(ShadowPool(reports), route_request, bind(**SHADOWED), arrive)
    await reports.until(1)

    assert (reports[0].outcome, reports[0].agreement) == ("match", 1.0)


async def test_a_shadow_that_differs_is_a_mismatch(bind, route_request, arrive, reports):
    await offer(ShadowPool(reports), route_request, bind(**SHADOWED), arrive)
    await reports.until(1)

    assert (reports[0].outcome, reports[0].agreement) == ("mismatch", 0.0)


async def test_a_shadow_that_fails_is_reported_with_its_cause(bind, endpoints, route_request, arrive, reports):
    endpoints["new"].script = ExecutionFailed("x")
    await offer(ShadowPool(reports), route_request, bind(**SHADOWED), arrive)
    await reports.until(1)

    assert (reports[0].outcome, reports[0].observation.cause) == ("failed", "error")


async def test_a_shadow_starts_only_when_the_answer_is_in_hand(bind, endpoints, route_request, arrive, reports):
    """Offering returns before the shadow is called: the answer does not wait for it."""
    pool = ShadowPool(reports)
    await offer(pool, route_request, bind(**SHADOWED), arrive)

    assert endpoints["new"].calls == []
    await reports.until(1)
    assert len(endpoints["new"].calls) == 1


async def test_sent_and_dropped_add_up_to_eligible(bind, endpoints, route_request, arrive, reports):
    """With room for two calls and three waiting, ten offers make five calls and five counted drops."""
    gate = endpoints["new"].script = asyncio.Event()
    pool = ShadowPool(reports, ShadowBounds(calls=2, queue=3))
    route = bind(**SHADOWED)
    for _ in range(10):
        await offer(pool, route_request, route, arrive)
    assert reports.outcomes() == ["queue"] * 5

    gate.set()
    await reports.until(10)
    assert sorted(reports.outcomes()) == ["mismatch"] * 5 + ["queue"] * 5


async def test_tensors_that_wait_are_bounded_in_bytes(bind, endpoints, route_request, arrive, reports):
    """Each call here holds 16 bytes in and 4 out; the third does not fit into 50."""
    gate = endpoints["new"].script = asyncio.Event()
    pool = ShadowPool(reports, ShadowBounds(calls=1, queue=10, bytes=50))
    route = bind(**SHADOWED)
    for _ in range(3):
        await offer(pool, route_request, route, arrive)
    assert reports.outcomes() == ["bytes"]

    gate.set()
    await reports.until(3)
    await offer(pool, route_request, route, arrive)
    await reports.until(4)
    assert reports.outcomes() == ["bytes", "mismatch", "mismatch", "mismatch"]


async def test_an_arm_that_is_not_ready_is_not_called(bind, endpoints, route_request, arrive, reports):
    endpoints["new"].script = "not ready"
    await offer(ShadowPool(reports), route_request, bind(**SHADOWED), arrive)

    assert reports.outcomes() == ["not_ready"]


async def test_closing_reports_what_was_not_done(bind, endpoints, route_request, arrive, reports):
    endpoints["new"].script = asyncio.Event()
    pool = ShadowPool(reports, ShadowBounds(calls=1, queue=5))
    route = bind(**SHADOWED)
    for _ in range(3):
        await offer(pool, route_request, route, arrive)
    await asyncio.sleep(0)
    await pool.close(grace_s=0.01)
    await offer(pool, route_request, route, arrive)

    assert reports.outcomes() == ["shutdown"] * 4


async def test_a_recorder_that_breaks_does_not_break_the_pool(bind, route_request, arrive, caplog):
    def broken(result) -> None:
        raise OSError("disk full")

    pool = ShadowPool(broken)
    await offer(pool, route_request, bind(**SHADOWED), arrive)
    await pool.close(grace_s=5)

    assert "could not be recorded" in caplog.text


async def test_an_answer_nobody_gave_is_not_compared(bind, endpoints, route_request, arrive, reports):
    endpoints["old"].script = endpoints["dumb"].script = ExecutionFailed("x")
    await offer(ShadowPool(reports), route_request, bind(**SHADOWED), arrive)
    await reports.until(1)

    assert (reports[0].outcome, reports[0].agreement) == ("uncompared", -1.0)


async def test_a_large_answer_counts_towards_the_bound(bind, endpoints, route_request, arrive, reports):
    """Fifty megabytes of answer are fifty megabytes kept, whatever the request was."""

    async def answer(request, /, *, deadline_at):
        return InferenceResponse((Tensor("y", "UINT8", np.zeros(50_000_000, np.uint8)),))

    endpoints["old"].infer = answer
    pool = ShadowPool(reports, ShadowBounds(bytes=49_000_000))
    await offer(pool, route_request, bind(**SHADOWED), arrive)

    assert reports.outcomes() == ["bytes"]


async def test_nothing_starts_while_a_client_waits(bind, endpoints, route_request, arrive, reports):
    """A shadow waits for whoever still waits for an answer, and goes ahead when the last one has it."""
    pool = ShadowPool(reports)
    pool.idle.begin()
    await offer(pool, route_request, bind(**SHADOWED), arrive)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (endpoints["new"].calls, pool.pending_n) == ([], 1)

    pool.idle.end()
    await reports.until(1)
    assert reports.outcomes() == ["mismatch"]


async def test_only_one_starts_in_an_idle_moment(bind, endpoints, route_request, arrive, reports):
    """Whoever comes after the first shadow has begun does not find three more in the way."""
    endpoints["new"].script = asyncio.Event()
    pool = ShadowPool(reports)
    for _ in range(4):
        await offer(pool, route_request, bind(**SHADOWED), arrive)
    while not endpoints["new"].calls:
        await asyncio.sleep(0)
    pool.idle.begin()
    for _ in range(20):
        await asyncio.sleep(0)

    assert len(endpoints["new"].calls) == 1
    endpoints["new"].script.set()
    pool.idle.end()
    await reports.until(4)


async def test_what_no_idle_moment_comes_for_expires(bind, endpoints, route_request, arrive, reports):
    """A gateway that is never idle keeps nothing for ever; nobody has to ask before it is dropped."""
    pool = ShadowPool(reports)
    pool.idle.begin()
    for budget_s in (0.2, 0.01):  # the later one is the sooner to expire
        routed = route_request(bind(**SHADOWED))
        arrival = arrive()
        pool.offer(replace(routed, deadline_at=arrival.started_at + budget_s), await execute(routed), arrival)
    await reports.until(2)

    assert [result.call.budget_s for result in reports] == pytest.approx([0.01, 0.2])
    assert (reports.outcomes(), endpoints["new"].calls, pool.held_bytes) == (["expired"] * 2, [], 0)


async def test_calls_whose_time_is_over_when_they_come_expire_at_once(
    bind, endpoints, route_request, arrive, reports, caplog
):
    """An answer that came late has shadows that are too late; the client has its answer all the same."""
    pool = ShadowPool(reports)
    pool.idle.begin()
    route = bind(**SHADOWED)
    for _ in range(3):
        routed, arrival = route_request(route), arrive()
        late = replace(routed, deadline_at=arrival.started_at - 1)
        pool.offer(late, await execute(routed), arrival)
    await reports.until(3)

    assert (["expired"] * 3, 0, []) == (reports.outcomes(), pool.held_bytes, caplog.records)


async def test_a_mistake_of_the_pool_s_own_is_not_the_client_s(bind, route_request, arrive, reports, monkeypatch):
    """Whatever breaks while a shadow is taken, the answer goes out."""

    def broken(*_: object) -> None:
        raise RuntimeError("a mistake")

    pool = ShadowPool(reports)
    monkeypatch.setattr(pool, "_refusal", broken)
    await offer(pool, route_request, bind(**SHADOWED), arrive)
    assert [] == reports


async def test_an_arm_that_breaks_while_its_calls_wait_is_not_called(bind, endpoints, route_request, arrive, reports):
    pool = ShadowPool(reports)
    pool.idle.begin()
    await offer(pool, route_request, bind(**SHADOWED), arrive)
    endpoints["new"].script = "not ready"
    pool.idle.end()
    await reports.until(1)

    assert (reports.outcomes(), endpoints["new"].calls) == (["not_ready"], [])


async def test_a_shadow_that_breaks_its_contract_is_one_that_failed(bind, endpoints, route_request, arrive, reports):
    endpoints["new"].script = ValueError("not a RunnerError")
    pool = ShadowPool(reports)
    await offer(pool, route_request, bind(**SHADOWED), arrive)
    await reports.until(1)

    assert (reports.outcomes(), pool.pending_n, pool.held_bytes) == (["failed"], 0, 0)


async def test_a_call_cancelled_before_its_first_step_is_reported(bind, route_request, arrive, reports):
    """Stopping without any grace loses no call either."""
    pool = ShadowPool(reports)
    await offer(pool, route_request, bind(**SHADOWED), arrive)
    while not pool._under_way:
        await asyncio.sleep(0)
    await pool.close(grace_s=0)

    assert (len(reports), pool.pending_n, pool.held_bytes) == (1, 0, 0)


async def test_a_shadows_own_answer_counts_until_it_is_compared(bind, endpoints, route_request, arrive, reports):
    """Fifty megabytes that only the shadow returns keep others from starting, and are let go of."""
    pool = ShadowPool(reports, ShadowBounds(bytes=1_000_000))
    held: list[int] = []
    compared = asyncio.Event()

    async def answer(request, /, *, deadline_at):
        return InferenceResponse((Tensor("y", "UINT8", np.zeros(50_000_000, np.uint8)),))

    async def compare(*answers, **how):
        held.append(pool.held_bytes)
        await compared.wait()
        return Likeness(0.0)

    endpoints["new"].infer = answer
    pool._comparer.compare = compare
    await offer(pool, route_request, bind(**SHADOWED), arrive)
    while not held:
        await asyncio.sleep(0)
    await offer(pool, route_request, bind(**SHADOWED), arrive)
    assert (held, reports.outcomes()) == ([50_000_020], ["bytes"])

    compared.set()
    await reports.until(2)
    assert pool.held_bytes == 0


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, ("mismatch", "", "")),
        ({"capture": True}, ("mismatch", '{"y":[1.0]}', '{"y":[1.5]}')),
        ({"capture": True, "tolerance": {"absolute": 0.5}}, ("match", "", "")),
    ],
)
async def test_a_route_says_what_is_alike_and_whether_both_answers_are_kept(
    bind, endpoints, route_request, arrive, reports, terms, expected
):
    """Kept are those that differ, and only where that was asked for."""

    def answering(number):
        async def answer(request, /, *, deadline_at):
            return InferenceResponse((Tensor("y", "FP32", np.array([number], np.float32)),))

        return answer

    endpoints["old"].infer, endpoints["new"].infer = answering(1.0), answering(1.5)
    pool = ShadowPool(reports)
    route = bind(strategy={"kind": "baseline"}, shadow=[{"candidate": "new", **terms}])
    await offer(pool, route_request, route, arrive)
    await reports.until(1)

    assert (reports[0].outcome, reports[0].served, reports[0].shadowed) == expected
    assert reports[0].likeness.max_abs == 0.5


async def test_texts_count_with_what_they_hold(bind, endpoints, route_request, arrive, reports):
    """An array of texts is pointers; what they point at is what fills the memory."""

    async def answer(request, /, *, deadline_at):
        return InferenceResponse((Tensor("y", "BYTES", np.array([b"x" * 1_000_000], object)),))

    endpoints["old"].infer = answer
    pool = ShadowPool(reports, ShadowBounds(bytes=1_000_000))
    await offer(pool, route_request, bind(**SHADOWED), arrive)

    assert reports.outcomes() == ["bytes"]


async def test_a_shadow_that_does_not_end_is_not_called_until_it_has(
    bind, endpoints, route_request, arrive, reports, monkeypatch
):
    """A run that ignores being told to stop: its calls are dropped at once, and made again when its thread is free."""
    monkeypatch.setattr(thread, "STUCK_AFTER_S", 0.0)
    stuck = StuckEndpoint()
    endpoints["new"].ready, endpoints["new"].infer = stuck.ready, stuck.infer
    pool, route = ShadowPool(reports), bind(**SHADOWED)
    routed = route_request(route, budget_s=0.05)
    pool.offer(routed, await execute(routed), arrive())
    await reports.until(1)
    while stuck.ready():
        await asyncio.sleep(0.001)
    await offer(pool, route_request, route, arrive)
    assert (reports[0].observation.cause, reports.outcomes()) == ("timeout", ["failed", "not_ready"])

    stuck.free.set()
    while not stuck.ready():
        await asyncio.sleep(0.001)
    await offer(pool, route_request, route, arrive)
    await reports.until(3)
    assert reports.outcomes()[-1] == "match"
    await stuck.thread.close()


class StuckEndpoint:
    """Answers like the baseline, from a thread of its own, once `free` is set; being told to stop changes nothing."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.thread = thread.ModelThread("stuck")

    def ready(self) -> bool:
        return not self.thread.is_stuck()

    async def infer(self, request, /, *, deadline_at: float) -> InferenceResponse:
        return await self.thread.run(self._run, lambda: None, deadline_at=deadline_at)

    def _run(self) -> InferenceResponse:
        self.free.wait(60)
        return InferenceResponse((Tensor("y", "FP32", np.full((1, 1), 1, np.float32)),))


async def test_starts_are_spread_over_time(bind, route_request, arrive, reports):
    """What shadows cost the interpreter is bounded, however much there is to compare."""
    pool = ShadowPool(reports, ShadowBounds(per_second=0.001))
    for _ in range(3):
        await offer(pool, route_request, bind(**SHADOWED), arrive)
    await reports.until(1)
    await asyncio.sleep(0.05)

    assert (1, 2) == (len(reports), pool.pending_n)
    await pool.close(grace_s=0)
    assert ["shutdown", "shutdown"] == reports.outcomes()[1:]
