"""Suspicion: what lets nobody climb long before it condemns anybody.

What one epoch may say for harm is bounded, so that a burst condemns no innocent candidate; a candidate that fails from
its first second must not climb meanwhile. This looks at plain counts, and errs often: all that follows is patience.
"""

from math import sqrt

from msgspec.structs import replace

from strategies.evidence.bounds import Bound
from strategies.evidence.epochs import ERROR_RATE
from strategies.evidence.rule import Count, Evidence, Judgement, Reading, Rule, Verdict

STANDARD_ERRORS = 3.0
EVENTS_MIN_N = 3
SAME = Bound(metric=ERROR_RATE)


def suspecting(judgement: Judgement, rule: Rule, evidence: Evidence) -> Judgement:
    """The judgement, with UNSURE for CLEAR where a guardrail that is not proven kept looks broken by its counts.

    Beside a copy of the baseline that fails where the baseline itself does not, nothing is clear or proven.
    """
    if judgement.verdict in (Verdict.CLEAR, Verdict.PROVEN) and any(
        _is_unsound(*each) for each in evidence.copies.windows()
    ):
        why = f"{rule.baseline} fails more often than {rule.rest}, of which it is a copy"
        return replace(judgement, verdict=Verdict.UNSURE, why=why)
    if judgement.verdict is not Verdict.CLEAR:
        return judgement
    for reading, bound in zip(judgement.readings, rule.bounds, strict=True):
        if not reading.is_safe and _looks_broken(reading, bound):
            why = f"{reading.metric} looks worse than its bound"
            return replace(judgement, verdict=Verdict.UNSURE, why=why, guardrail=reading.metric)
    return judgement


def _looks_broken(reading: Reading, bound: Bound) -> bool:
    return any(
        _standard_errors(candidate, baseline if bound.limit is None else Count(0, 0), bound) > STANDARD_ERRORS
        for candidate, baseline in zip(reading.candidate, reading.baseline, strict=True)
        if candidate.events_n >= EVENTS_MIN_N
    )


def _is_unsound(copy: Count, rest: Count) -> bool:
    """Errors alone: a copy that was just opened may well be slower, and that is what it is there to show."""
    return copy.events_n >= EVENTS_MIN_N and _standard_errors(copy, rest, SAME) > STANDARD_ERRORS


def _standard_errors(candidate: Count, baseline: Count, bound: Bound) -> float:
    """By how many the candidate's rate is above the baseline's times what is tolerated, or above the limit."""
    if bound.limit is not None:
        spread = bound.limit * (1 - bound.limit) / candidate.of_n
        return (candidate.rate - bound.limit) / sqrt(spread)
    if not baseline.of_n:
        return 0.0
    pooled = (candidate.events_n + baseline.events_n) / (candidate.of_n + baseline.of_n)
    spread = pooled * (1 - pooled) * (1 / candidate.of_n + 1 / baseline.of_n)
    return (candidate.rate - bound.tolerated * baseline.rate) / sqrt(spread) if spread else 0.0
