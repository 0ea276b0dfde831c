"""Doing what was decided: the serving arm, then whoever can help."""

import asyncio

import pytest

from gateway.execution.executor import execute
from gateway.execution.outcome import CallRole
from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidInput, InvalidOutput, NotReady, Overloaded
from runners.core.tensor import InferenceResponse


def answer_of(outcome) -> float:
    assert isinstance(outcome.answer, InferenceResponse)
    return float(outcome.answer.outputs[0].array[0, 0])


async def test_the_assigned_arm_answers(bind, route_request):
    outcome = await execute(route_request(bind()))

    assert (answer_of(outcome), outcome.answered.arm.name, outcome.fallback_cause) == (2.0, "new", "")
    assert [seen.role for seen in outcome.observations] == [CallRole.SERVE]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ExecutionFailed("x"), "error"),
        (NotReady("x"), "not_ready"),
        (Overloaded("x"), "overload"),
        (InvalidOutput("x"), "invalid_output"),
        (ZeroDivisionError("a runner that breaks its contract"), "error"),
    ],
)
async def test_a_failed_candidate_is_answered_for_by_the_baseline(bind, endpoints, route_request, error, cause):
    """The client gets an acceptable answer, and the cause is known."""
    endpoints["new"].script = error
    outcome = await execute(route_request(bind()))

    assert (outcome.answered.arm.name, outcome.fallback_cause) == ("old", cause)
    assert [seen.role for seen in outcome.observations] == [CallRole.SERVE, CallRole.FALLBACK]


async def test_a_hung_candidate_leaves_time_for_the_fallback(bind, endpoints, route_request):
    """A tenth of the budget is kept back, so the answer still comes by the deadline."""
    endpoints["new"].script = "hang"
    routed = route_request(bind(), budget_s=0.8)
    outcome = await execute(routed)

    assert (outcome.answered.arm.name, outcome.fallback_cause) == ("old", "timeout")
    assert endpoints["new"].calls[0] < routed.deadline_at
    assert endpoints["old"].calls[0] < routed.deadline_at


async def test_a_deadline_that_has_passed_still_leaves_the_fallback_a_moment(bind, endpoints, route_request):
    """When a busy process has eaten the reserve, an acceptable answer a moment late beats none."""
    endpoints["new"].script = DeadlineExceeded("too late")
    routed = route_request(bind(), budget_s=-1.0)
    outcome = await execute(routed)

    assert (outcome.answered.arm.name, outcome.fallback_cause) == ("old", "timeout")
    assert endpoints["old"].calls[0] > routed.deadline_at + 1.0


async def test_the_chain_ends_in_the_reserve(bind, endpoints, route_request):
    endpoints["new"].script = endpoints["old"].script = ExecutionFailed("x")
    outcome = await execute(route_request(bind()))

    assert (outcome.answered.arm.name, len(outcome.observations)) == ("dumb", 3)


async def test_the_last_in_the_chain_has_all_the_time_left(bind, endpoints, route_request):
    endpoints["new"].script = endpoints["old"].script = ExecutionFailed("x")
    routed = route_request(bind())
    await execute(routed)

    assert endpoints["dumb"].calls == [routed.deadline_at]


async def test_a_callers_mistake_is_not_tried_elsewhere(bind, endpoints, route_request):
    endpoints["new"].script = InvalidInput("wrong shape")
    outcome = await execute(route_request(bind()))

    assert outcome.blames_caller
    assert endpoints["old"].calls == []


async def test_a_caller_may_forbid_the_fallback(bind, endpoints, route_request):
    endpoints["new"].script = ExecutionFailed("x")
    outcome = await execute(route_request(bind(), may_fall_back=False))

    assert outcome.answered is None
    assert isinstance(outcome.answer, ExecutionFailed)


async def test_when_all_fail_the_last_error_is_the_answer(bind, endpoints, route_request):
    for endpoint in endpoints.values():
        endpoint.script = NotReady("down")
    outcome = await execute(route_request(bind()))

    assert isinstance(outcome.answer, NotReady)
    assert [seen.cause for seen in outcome.observations] == ["not_ready"] * 3


async def test_a_caller_who_leaves_stops_the_work(bind, endpoints, route_request):
    endpoints["new"].script = "hang"
    task = asyncio.create_task(execute(route_request(bind())))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert endpoints["old"].calls == []
