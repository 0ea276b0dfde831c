"""Merged answers: the baseline's and its partners', made one in time or not at all.

The baseline is called as on any other route, fallbacks behind it included. Its partners are asked at the same moment
and have nine tenths of the time. Whatever is amiss with one of them leaves the baseline's answer as it is, with the
reason: that is settled before anybody sees a list, so leaving such requests out favours nobody.
"""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic

from msgspec.structs import replace

from gateway.execution.executor import call, execute
from gateway.execution.outcome import CallRole, Observation, Outcome, Routed
from gateway.execution.ranking import NotMerged, merge_lists
from gateway.execution.side_by_side import names_asked, put_together
from gateway.routing.table import BoundArm
from runners.core.errors import DeadlineExceeded, InvalidOutput, RunnerError
from runners.core.tensor import InferenceRequest, InferenceResponse
from strategies.core.merge import Merge, Mode
from strategies.core.plan import Decision

PARTNER_RESERVE = 0.1  # of the time there is, kept back to merge and to send the answer
LOG = logging.getLogger("turnout.merging")

Seen = tuple[InferenceResponse | RunnerError, Observation]


async def execute_merged(routed: Routed, merge: Merge) -> Outcome:
    """Call the baseline and its partners, and make one answer of theirs, or give the baseline's and say why."""
    names = _names_asked(routed, merge)
    if names is None:
        return replace(await execute(_alone(routed)), not_interleaved="unasked")
    asked = _alone(routed) if names == routed.request.outputs else _alone(routed, names)
    started_at = monotonic()
    by = routed.deadline_at - PARTNER_RESERVE * (routed.deadline_at - started_at)
    arms = [routed.route.arms[arm.index] for arm in routed.decision.plan.serve]
    calls = [asyncio.ensure_future(_ask(bound, asked.request, by)) for bound in arms[1:]]
    try:
        outcome = await execute(asked)
        if outcome.answered is arms[0]:
            await _until_settled(calls, by)
    finally:
        for each in calls:
            each.cancel()  # those that are done do not mind
    now = monotonic()
    asked_of = [(each, bound) for each, bound in zip(calls, arms[1:], strict=True) if each.done() or now >= by]
    seen = [_seen(each, bound, started_at) for each, bound in asked_of]  # of those let go there is nothing to tell
    if outcome.answered is not arms[0]:
        return _unmerged(routed, outcome, "baseline", [observation for _, observation in seen])
    return _merged(routed, merge, outcome, seen)


async def _until_settled(calls: "Sequence[asyncio.Future[Seen]]", by: float) -> None:
    """Wait until all partners have answered, one has failed, or it is time: the others cannot help any more then."""
    pending = set(calls)
    while pending and (left_s := by - monotonic()) > 0:  # timers may be early, and who has time left is not late
        done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if any(_has_failed(each) for each in done):
            break


def _has_failed(asked: "asyncio.Future[Seen]") -> bool:
    return asked.cancelled() or isinstance(asked.result()[0], RunnerError)


def _names_asked(routed: Routed, merge: Merge) -> tuple[str, ...] | None:
    """The outputs to ask every arm for, () for all; None when none of what the client wants would be merged."""
    wanted = routed.request.outputs
    if not wanted:
        return ()
    if merge.mode is Mode.BOTH:
        return names_asked(merge, routed.decision.plan.serve, wanted)
    if merge.ranking in wanted:
        return wanted
    return (*wanted, merge.ranking) if any(name in merge.aligned for name in wanted) else None


def _alone(routed: Routed, names: tuple[str, ...] | None = None) -> Routed:
    """The same with the baseline alone to serve, asked for these outputs."""
    plan = routed.decision.plan
    decision = Decision(replace(plan, serve=plan.serve[:1], merge=None))
    request = routed.request if names is None else replace(routed.request, outputs=names)
    return replace(routed, request=request, decision=decision)


async def _ask(bound: BoundArm, request: InferenceRequest, by: float) -> Seen:
    started_at = monotonic()
    answer = await call(bound, request, by)
    duration_s = monotonic() - started_at
    if isinstance(answer, RunnerError):
        return answer, Observation(bound, CallRole.PARTNER, answer.code, started_at, duration_s)
    rows, queued_s = answer.batch_rows, answer.queued_s
    return answer, Observation(bound, CallRole.PARTNER, "", started_at, duration_s, rows, queued_s)


def _seen(asked: "asyncio.Future[Seen]", bound: BoundArm, started_at: float) -> Seen:
    """What became of a partner's call; one that is not done has missed its deadline."""
    if asked.done() and not asked.cancelled():
        return asked.result()
    late = Observation(bound, CallRole.PARTNER, "timeout", started_at, monotonic() - started_at)
    return DeadlineExceeded("the partner had not answered in time"), late


def _merged(routed: Routed, merge: Merge, outcome: Outcome, seen: list[Seen]) -> Outcome:
    own = outcome.answer
    assert isinstance(own, InferenceResponse)
    observations = [observation for _, observation in seen]
    responses = [own, *(answer for answer, _ in seen if isinstance(answer, InferenceResponse))]
    if len(responses) <= len(seen):
        cause = next(observation.cause for observation in observations if observation.cause)
        return _unmerged(routed, outcome, cause, observations)
    try:
        outputs, impressions = _BY_MODE[merge.mode](routed, merge, responses)
    except NotMerged as error:
        if error.ranker:
            observations[error.ranker - 1] = replace(observations[error.ranker - 1], cause=InvalidOutput.code)
        return _unmerged(routed, outcome, error.code, observations)
    except Exception:  # a mistake of ours that a client must not pay for
        LOG.exception("answers of route %s could not be merged", routed.route.name)
        return _unmerged(routed, outcome, "internal", observations)
    return replace(
        outcome,
        answer=replace(own, outputs=outputs),
        observations=(*outcome.observations, *observations),
        impressions=impressions,
        own=_wanted(routed, own),
    )


def _unmerged(routed: Routed, outcome: Outcome, reason: str, partners: list[Observation]) -> Outcome:
    answer = outcome.answer if isinstance(outcome.answer, RunnerError) else _wanted(routed, outcome.answer)
    observations = (*outcome.observations, *partners)
    own = answer if isinstance(answer, InferenceResponse) else None
    return replace(outcome, answer=answer, observations=observations, not_interleaved=reason, own=own)


def _wanted(routed: Routed, answer: InferenceResponse) -> InferenceResponse:
    """The answer with the outputs the client asked for, of those that any arm has."""
    wanted = routed.request.outputs
    if not wanted:
        return answer
    by_name = {tensor.name: tensor for tensor in answer.outputs}
    return replace(answer, outputs=tuple([by_name[name] for name in wanted if name in by_name]))


_BY_MODE = {Mode.MERGE: merge_lists, Mode.BOTH: put_together}
