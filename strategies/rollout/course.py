"""A rollout under way: what is known of it and where that has led, epoch by epoch. Pure; the clock is the epochs'.

    enter(rule, state)                       nothing is read yet
    after_epoch(course, parts, rule, ramp)   one closed epoch more, with all its parts
    after_pause(course, first, number, ramp) in the epochs from one to before another nothing was counted
    after_look(course, ramp)                 no time goes by: what a person did may take effect
    published(course, state)                 what is live now, whoever moved it

The live loop, a restart, a second loop and a simulation walk the same epochs and come to the same moves.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from strategies.core.state import WAITING, Phase, RolloutState
from strategies.evidence.epochs import EPOCH_S, ArmCounts, Epoch
from strategies.evidence.rule import Evidence, Judgement, Rule, Verdict, fold, judge, start
from strategies.rollout.machine import Event, Verb, move
from strategies.rollout.ramp import Ramp
from strategies.rollout.suspicion import suspecting

NOBODY = ArmCounts()


class Course(Struct, frozen=True):
    """`state` is where the epochs up to `epoch` have led; `live` is what was last published, from which it departs."""

    state: RolloutState
    live: RolloutState
    evidence: Evidence
    judgement: Judgement
    epoch: int = 0

    @property
    def has_moved(self) -> bool:
        """Whether there is something to publish."""
        return (self.state.phase, self.state.step) != (self.live.phase, self.live.step)

    @property
    def unread(self) -> int:
        """The first epoch of which nothing is known yet."""
        return max(int(self.state.last_tick_s) // EPOCH_S, self.epoch + 1)


def enter(rule: Rule, state: RolloutState) -> Course:
    """The beginning. How long the step has had requests is counted anew from the epochs."""
    evidence = start(rule)
    return Course(replace(state, baked_s=0.0), state, evidence, judge(rule, evidence))


def after_epoch(course: Course, parts: Sequence[Epoch], rule: Rule, ramp: Ramp) -> Course:
    """Fold the parts of one epoch, judge, move. What ended before the last move is read, and moves nothing."""
    evidence, number = course.evidence, parts[0].number
    for part in parts:
        evidence = fold(rule, evidence, part)
    judgement = suspecting(judge(rule, evidence), rule, evidence)
    state, end_s = course.state, float((number + 1) * EPOCH_S)
    served_s = _served_s(course, parts, rule)
    if state.phase in WAITING and end_s > state.last_tick_s:
        verdict = _on_step(judgement.verdict, evidence, state)
        state = move(state, Event(Verb.TICK, "", "", end_s, verdict, served_s), ramp)
    else:
        state = replace(state, baked_s=state.baked_s + served_s)
    return replace(course, state=state, evidence=evidence, judgement=judgement, epoch=number)


def after_pause(course: Course, first: int, number: int, ramp: Ramp) -> Course:
    """In the epochs from `first` to before `number` nothing was counted: patience runs out, at the end of one.

    Where nobody's patience runs, the last of them tells all, however long the pause.
    """
    is_patient = course.state.phase is Phase.BAKING and course.judgement.verdict is not Verdict.HALT
    for silent in range(first if is_patient else max(first, number - 1), number):
        if course.has_moved or course.state.phase not in WAITING:
            break
        course = _ticked(course, float((silent + 1) * EPOCH_S), ramp)
    return course


def after_look(course: Course, ramp: Ramp) -> Course:
    """Nothing new is known and no time goes by, but somebody may have approved or resumed."""
    return _ticked(course, course.state.last_tick_s, ramp) if course.state.phase in WAITING else course


def published(course: Course, state: RolloutState) -> Course:
    """The course from what is live now. A stay goes on while its step does."""
    if state == course.live:
        return course
    is_same = state.step == course.live.step and state.step == course.state.step
    return replace(course, live=state, state=replace(state, baked_s=course.state.baked_s) if is_same else state)


def _ticked(course: Course, now_s: float, ramp: Ramp) -> Course:
    verdict = _on_step(course.judgement.verdict, course.evidence, course.state)
    return replace(course, state=move(course.state, Event(Verb.TICK, "", "", now_s, verdict), ramp))


def _on_step(verdict: Verdict, evidence: Evidence, state: RolloutState) -> Verdict:
    """What the evidence says of the live step: that of another may condemn, but lets nobody climb from this one."""
    if verdict in (Verdict.CLEAR, Verdict.PROVEN) and evidence.step != state.step:
        return Verdict.UNSURE
    return verdict


def _served_s(course: Course, parts: Sequence[Epoch], rule: Rule) -> float:
    """How long the live step had requests in this epoch: one in which a step began does not count."""
    is_served = any(part.arms.get(rule.candidate, NOBODY).requests_n for part in parts)
    is_whole = all(part.step == course.state.step for part in parts)
    return float(EPOCH_S) if is_served and is_whole else 0.0
