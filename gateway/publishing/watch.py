"""Watching a rollout: its evidence from the ledger, and where that leads. What is seen is published by others."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from gateway.publishing.prepare import Meaning
from gateway.publishing.rollouts import rollout_of
from gateway.publishing.rules import rule_of
from strategies.core.state import Phase, RolloutState
from strategies.evidence.epochs import Epoch
from strategies.evidence.rule import Rule
from strategies.rollout.course import Course, after_epoch, after_silence, enter, published
from strategies.rollout.ramp import Ramp


class Epochs(Protocol):
    """Where closed epochs are read."""

    def epochs(self, name: str, after: int = 0) -> Sequence[Epoch]:
        """Those of an experiment with a number above `after`, in order."""
        ...


class Watched(Struct, frozen=True):
    """One route's rollout and what is known of it. `before` is where it stood before it moved, if it has."""

    experiment: str
    rule: Rule
    ramp: Ramp
    course: Course
    before: RolloutState


def watch(meaning: Meaning, name: str, known: Watched | None = None) -> Watched | None:
    """What is live of a route, with what was `known` of the same experiment; None for a route without a rollout."""
    document, kept = meaning.document(name), meaning.kept[name]
    rule, ramp = rule_of(document, meaning.routes[name]), rollout_of(document)
    if rule is None or ramp is None or kept.rollout is None:
        return None
    experiment = f"{name}@{kept.began}"
    if known is None or (known.experiment, known.rule) != (experiment, rule):
        course = enter(rule, kept.rollout)
        return Watched(experiment, rule, ramp, course, course.state)
    return replace(known, ramp=ramp, course=published(known.course, kept.rollout))


def looked(watched: Watched, ledger: Epochs, now_s: float) -> Watched:
    """After another look at the ledger: up to the first epoch that moves it, or to the present."""
    course, before = watched.course, watched.course.state
    for epoch in ledger.epochs(watched.experiment, course.epoch):
        if course.has_moved and epoch.number > course.epoch:
            break
        if not course.has_moved:
            before = course.state
        course = after_epoch(course, epoch, watched.rule, watched.ramp)
    if not course.has_moved:
        before = course.state
        course = after_silence(course, now_s, watched.ramp)
    return replace(watched, course=course, before=before)


def withdrawn(watched: Watched) -> Watched:
    """Where it was before a move that could not be published. What was learned stays, and a stay that was over is."""
    before, after = watched.before, watched.course.state
    is_up = after.step > before.step or after.phase is Phase.PROMOTED
    baked_s = max(before.baked_s, watched.ramp.bake_s(before.step)) if is_up else before.baked_s
    return replace(watched, course=replace(watched.course, state=replace(before, baked_s=baked_s)))
