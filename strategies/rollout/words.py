"""A rollout in sentences: where it stands, what it waits for, what comes next, and why it moved."""

from math import ceil, exp

from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import percent
from strategies.core.state import Phase, RolloutState
from strategies.evidence.rule import Judgement, Reading, Verdict
from strategies.rollout.course import Course
from strategies.rollout.machine import needs_approval, possible
from strategies.rollout.ramp import Inconclusive, Ramp

LARGEST_SHOWN = 1e9
ENDS = {
    Inconclusive.HOLD: "held",
    Inconclusive.ROLLBACK: "taken back",
    Inconclusive.PROMOTE_WITH_APPROVAL: "put to a person",
}


def standing(course: Course, ramp: Ramp) -> str:
    """What it does now and what comes next, as in: baking at 5%, 4 min of 10 min left; needs 120 more requests."""
    state, judgement = course.state, course.judgement
    at = f"at {percent(ramp.shares_ppm[state.step])} (step {state.step + 1} of {ramp.steps_n})"
    match state.phase:
        case Phase.BAKING:
            return f"baking {at}, {'; '.join(_waits_for(course, ramp))}"
        case Phase.HELD:
            return f"held {at}{_because(state)}; {_evidence(judgement)}; resume lets it climb"
        case Phase.AWAITING_APPROVAL:
            somebody = f"somebody other than {state.author}" if state.author else "somebody"
            target = percent(ramp.share_after(state.step))
            return f"waiting {at} for an approval of {target}{_because(state)}; {somebody} has to say: approve"
        case Phase.PROMOTED:
            return f"promoted{_because(state)}; possible: {possible(state.phase)}"
        case Phase.ROLLED_BACK | Phase.EXPIRED:
            word = "rolled back" if state.phase is Phase.ROLLED_BACK else "expired"
            return f"{word}{_because(state)}; possible: {possible(state.phase)}"


def reason(before: RolloutState, after: RolloutState, judgement: Judgement, ramp: Ramp) -> str:
    """Why a look at the evidence has moved a rollout, with the numbers that it rests on."""
    numbers = "; ".join(reading_words(each) for each in judgement.readings)
    share = percent(ramp.shares_ppm[before.step])
    match after.phase:
        case Phase.ROLLED_BACK if judgement.verdict is Verdict.FAIL:
            about = [each for each in judgement.readings if each.metric == judgement.guardrail]
            why = judgement.why if judgement.guardrail in judgement.why else f"{judgement.guardrail}: {judgement.why}"
            return f"{why}; {'; '.join(map(reading_words, about)) or numbers}"
        case Phase.ROLLED_BACK | Phase.HELD:
            return f"unsure after {duration(before.waited_s)} at {share}: {judgement.why}; {numbers}"
        case Phase.AWAITING_APPROVAL if after.is_waived:
            return f"unsure after {duration(before.waited_s)} at {share}: {judgement.why}; {numbers}"
        case Phase.AWAITING_APPROVAL:
            limit = percent(ramp.approve_above_ppm)
            return f"baked at {share}, and more than {limit} takes an approval; {numbers}"
        case Phase.PROMOTED:
            return f"no worse than its guardrails allow; {numbers}"
        case _:
            return f"baked at {share}: {judgement.why}; {numbers}"


def reading_words(reading: Reading) -> str:
    """One guardrail in numbers, as in: error_rate E = 7e+03, 31 of 640 against 12 of 12,160."""
    pairs = zip(reading.candidate, reading.baseline, strict=True)
    counts = ", ".join(
        f"{new.events_n:,} of {new.of_n:,} against {old.events_n:,} of {old.of_n:,}" for new, old in pairs
    )
    limit = "" if reading.limit is None else f" and at most {percent(reading.limit * WHOLE_PPM)}"
    return f"{reading.metric} E = {e_value(reading.log_e):.3g}, {counts}{limit}"


def e_value(log_e: float) -> float:
    """E itself, as far as anybody wants to know."""
    return exp(log_e) if log_e < 20 else LARGEST_SHOWN


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 4 min, 3 h, 2 d."""
    for limit, unit, word in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{ceil(seconds / unit)} {word}"
    return f"{ceil(seconds / 86_400)} d"


def _waits_for(course: Course, ramp: Ramp) -> list[str]:
    state, judgement = course.state, course.judgement
    bake_s = ramp.bake_s(state.step)
    left_s = max(bake_s - state.baked_s, 0.0)
    words = [f"{duration(left_s)} of {duration(bake_s)} left" if left_s else f"its {duration(bake_s)} are over"]
    is_here = course.evidence.step == state.step and course.epoch > 0
    if not is_here:
        words.append("no request of it has been counted yet at this share")
    elif judgement.missing_n:
        words.append(f"needs {judgement.missing_n:,} more requests")
    elif judgement.verdict in (Verdict.UNSURE, Verdict.HALT):
        words.append(judgement.why)
    is_last = state.step + 1 == ramp.steps_n
    if is_last and is_here and judgement.verdict is Verdict.CLEAR:
        unproven = ", ".join(each.metric for each in judgement.readings if not each.is_safe)
        words.append(f"not yet proven: {unproven}")
    words.append(_then(state, ramp))
    return words


def _then(state: RolloutState, ramp: Ramp) -> str:
    share_ppm = ramp.share_after(state.step)
    then = f"then {percent(share_ppm)}"
    if needs_approval(state, ramp, share_ppm):
        return f"{then}, which takes an approval"
    if ramp.patience_s - state.waited_s < ramp.bake_s(state.step):
        ends = {Inconclusive.HOLD: "held", Inconclusive.ROLLBACK: "taken back"}.get(
            ramp.on_inconclusive, "put to a person"
        )
        return f"{then}, or {ends} in {duration(max(ramp.patience_s - state.waited_s, 0.0))}"
    return then


def _evidence(judgement: Judgement) -> str:
    return f"the evidence says {judgement.verdict}: {judgement.why}"


def _because(state: RolloutState) -> str:
    return f" ({state.reason})" if state.reason else ""
