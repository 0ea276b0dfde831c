"""Watching a rollout: its evidence from the ledger, and where that leads. What is seen is published by others."""

from collections.abc import Sequence
from functools import reduce
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from gateway.publishing.prepare import Meaning
from gateway.publishing.rollouts import rollout_of
from gateway.publishing.rules import rule_of
from gateway.publishing.slicing import InSlice, Sliced, nothing_sliced, questions_of
from gateway.state.closing import LIMIT_S
from strategies.core.state import Phase, RolloutState
from strategies.evidence.contrast import Contrasted, contrasted
from strategies.evidence.epochs import EPOCH_S, Epoch
from strategies.evidence.rule import Rule
from strategies.rollout.course import Course, after_epoch, after_look, after_pause, enter, published
from strategies.rollout.ramp import Ramp

SILENT_S = LIMIT_S + EPOCH_S  # after its end an epoch that is not closed never held anything


class Epochs(Protocol):
    """Where closed epochs are read."""

    def epochs(self, name: str, after: int = 0) -> Sequence[Epoch]:
        """Those of an experiment with a number above `after`, in order."""
        ...


class Watched(Struct, frozen=True):
    """One route's rollout and what is known of it. `before` is where it stood before it moved, if it has.

    `sliced` is what was counted in the slices that the document declares, `noise` a twin beside the baseline's rest:
    how far two copies of one model are apart. Neither moves anything.
    """

    experiment: str
    rule: Rule
    ramp: Ramp
    course: Course
    before: RolloutState
    sliced: Sliced
    noise: Contrasted | None = None

    @property
    def slices(self) -> list[InSlice]:
        """What is known of the candidate in each slice."""
        return self.sliced.look().get(self.rule.candidate, [])

    @property
    def differing(self) -> str:
        """Where the candidate differs, to be put behind a sentence; nothing where no slice stands out."""
        return self.sliced.words(self.slices)


def watch(meaning: Meaning, name: str, known: Watched | None = None) -> Watched | None:
    """What is live of a route, with what was `known` of the same experiment; None for a route without a rollout."""
    document, kept = meaning.document(name), meaning.kept[name]
    rule, ramp = rule_of(document, meaning.routes[name]), rollout_of(document)
    if rule is None or ramp is None or kept.rollout is None:
        return None
    experiment = f"{name}@{kept.began}"
    if known is None or (known.experiment, known.rule) != (experiment, rule):
        course = enter(rule, kept.rollout)
        sliced = nothing_sliced((rule,), questions_of(document))
        noise = Contrasted(rule.baseline, rule.rest) if rule.rest else None
        return Watched(experiment, rule, ramp, course, course.state, sliced, noise)
    return replace(known, ramp=ramp, course=published(known.course, kept.rollout))


def looked(watched: Watched, ledger: Epochs, now_s: float) -> Watched:
    """After another look at the ledger: up to the first epoch that moves it, or to the present.

    Time is that of the epochs, so that whoever reads them later comes to the same moves at the same moments. What was
    counted nowhere for `SILENT_S` is silence; what lasted longer than this without a look was not watched.
    """
    course, before = watched.course, watched.course.state
    for number, parts in groupby(ledger.epochs(watched.experiment, course.epoch), key=attrgetter("number")):
        before, course = course.state, _paused(course, number, watched.ramp)
        if not course.has_moved:
            counted = [*parts]
            before, course = course.state, after_epoch(course, counted, watched.rule, watched.ramp)
            watched = _beside(watched, counted)
        if course.has_moved:
            return replace(watched, course=course, before=before)
    before, course = course.state, _paused(course, int(now_s - SILENT_S) // EPOCH_S, watched.ramp)
    if not course.has_moved:
        before, course = course.state, after_look(course, watched.ramp)
    return replace(watched, course=course, before=before)


def _beside(watched: Watched, parts: Sequence[Epoch]) -> Watched:
    """With what an epoch says of all that is told and decides nothing."""
    noise = reduce(contrasted, parts, watched.noise) if watched.noise else None
    return replace(watched, sliced=watched.sliced.after(parts), noise=noise)


def _paused(course: Course, number: int, ramp: Ramp) -> Course:
    """Up to an epoch before which nothing was counted; of what nobody watched, no more than a moment counts."""
    is_watched = (number - course.unread) * EPOCH_S <= SILENT_S + EPOCH_S
    return after_pause(course, course.unread if is_watched else number - 1, number, ramp)


def withdrawn(watched: Watched) -> Watched:
    """Where it was before a move that could not be published. What was learned stays, and a stay that was over is."""
    before, after = watched.before, watched.course.state
    is_up = after.step > before.step or after.phase is Phase.PROMOTED
    baked_s = max(before.baked_s, watched.ramp.bake_s(before.step)) if is_up else before.baked_s
    state = replace(before, baked_s=baked_s, last_tick_s=after.last_tick_s)
    return replace(watched, course=replace(watched.course, state=state))
