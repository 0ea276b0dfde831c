"""Shadows: bounded, compared, and unable to touch an answer."""

import asyncio

import numpy as np
import pytest

from gateway.execution.executor import execute
from gateway.execution.shadows import ShadowBounds, ShadowPool
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
