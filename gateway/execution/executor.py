"""The executor: the only place, with its shadow pool, where endpoints are called."""

import logging
from time import monotonic

from gateway.execution.outcome import CallRole, Observation, Outcome, Routed
from gateway.routing.table import BoundArm
from runners.core.errors import ExecutionFailed, NotReady, RunnerError
from runners.core.tensor import InferenceRequest, InferenceResponse

FALLBACK_RESERVE = 0.1  # of the time left, kept back for whoever steps in; a resident baseline needs far less
FALLBACK_LEAST_S = 0.05  # a busy loop can eat the reserve, and an acceptable answer a moment late beats none
LOG = logging.getLogger("turnout.executor")


async def execute(routed: Routed) -> Outcome:
    """Call the serving arm, then each fallback that can help, until one answers or none is left."""
    plan = routed.decision.plan
    chain = plan.serve + plan.fallback if routed.may_fall_back else plan.serve
    deadline_at = routed.deadline_at
    observations: list[Observation] = []
    error: RunnerError = NotReady("the plan names no arm")
    for place, arm in enumerate(chain):
        bound = routed.route.arms[arm.index]
        started_at = monotonic()
        if place == 1:
            deadline_at = max(deadline_at, started_at + FALLBACK_LEAST_S)
        by = _attempt_deadline(started_at, deadline_at, is_last=place == len(chain) - 1)
        answer = await call(bound, routed.request, by)
        observations.append(_observe(bound, place, answer, started_at))
        if not isinstance(answer, RunnerError):
            return Outcome(answer, bound, tuple(observations))
        error = answer
        if not error.fallback_helps:
            break
    return Outcome(error, None, tuple(observations))


async def call(bound: BoundArm, request: InferenceRequest, deadline_at: float) -> InferenceResponse | RunnerError:
    """One call to one arm. It raises nothing but cancellation."""
    try:
        return await bound.endpoint.infer(request, deadline_at=deadline_at)
    except RunnerError as error:
        return error
    except Exception as error:  # a runner that breaks its contract must not take the answer down with it
        LOG.exception("arm %s broke the runner contract", bound.arm.name)
        return ExecutionFailed(f"arm '{bound.arm.name}' failed: {type(error).__name__}")


def _observe(bound: BoundArm, place: int, answer: InferenceResponse | RunnerError, started_at: float) -> Observation:
    role = CallRole.FALLBACK if place else CallRole.SERVE
    duration_s = monotonic() - started_at
    if isinstance(answer, RunnerError):
        whose = answer.run, answer.loses_run, answer.is_untried
        return Observation(bound, role, answer.code, started_at, duration_s, 0, 0.0, *whose)
    return Observation(bound, role, "", started_at, duration_s, answer.batch_rows, answer.queued_s, answer.run)


def _attempt_deadline(now: float, deadline_at: float, *, is_last: bool) -> float:
    return deadline_at if is_last else deadline_at - FALLBACK_RESERVE * (deadline_at - now)
