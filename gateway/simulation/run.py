"""One run on a virtual clock: observations are counted into epochs, epochs are judged, and what that moves is live.

The clock is the observations' own. An epoch is over when one of a later epoch comes, or none; what its verdict moves
holds from the next one on.
"""

from math import inf
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.compiled import CompiledRoute
from gateway.publishing.slicing import nothing_sliced, questions_of
from gateway.publishing.trials import tell_slice
from gateway.simulation.counted import Counted
from gateway.simulation.observations import Observation
from gateway.simulation.setup import Setup
from strategies.core.assignment import unit_bytes
from strategies.core.plan import RequestFacts
from strategies.core.state import WAITING, Phase, RolloutState, live_ppm
from strategies.evidence.epochs import EPOCH_S, Epoch
from strategies.evidence.rule import Judgement
from strategies.rollout.course import Course, after_epoch, after_pause, enter, published
from strategies.rollout.guardrails import TIMED
from strategies.rollout.machine import begun

MOVES = {
    Phase.BAKING: "advance",
    Phase.HELD: "hold",
    Phase.AWAITING_APPROVAL: "await_approval",
    Phase.PROMOTED: "promote",
    Phase.ROLLED_BACK: "rollback",
}
FINALS = {
    Phase.BAKING: "running",
    Phase.HELD: "held",
    Phase.AWAITING_APPROVAL: "held",
    Phase.PROMOTED: "promoted",
    Phase.ROLLED_BACK: "rolled_back",
}


class Line(Struct, frozen=True):
    """A changed verdict, or a move, and where that led. `step` counts from 1, `n` the run's requests so far."""

    run: str | int
    t: float
    n: int
    phase: str
    step: int
    share_ppm: int
    verdict: str
    guardrail: str
    log_e: float
    move: str


class Final(Struct, frozen=True, omit_defaults=True):
    """What became of a run: promoted, rolled_back, held, running; when, and after how many of its requests.

    `slices` are those that the document declares, as a status tells them.
    """

    run: str | int
    final: str
    t: float
    n: int
    slices: list[dict[str, Any]] = []


class OutOfOrder(ValueError):
    """An observation of an epoch that is over."""


class Run:
    """One rollout from its first step."""

    def __init__(self, name: str | int, setup: Setup) -> None:
        self.lines: list[Line | Final] = []  # what was said since somebody took it
        self.is_over = False
        self._name = name
        self._setup = setup
        self._counted = Counted(str(name))
        self._course = enter(setup.rule, RolloutState())
        self._sliced = nothing_sliced((setup.rule,), questions_of(setup.document))
        self._route: CompiledRoute
        self._epoch = -1  # the one that is open
        self._parts: list[Epoch] = []  # of it
        self._n = 0
        self._verdict = ""
        self._is_timed = any(bound.metric in TIMED for bound in setup.rule.bounds)
        self._begin_step(None)

    def observe(self, seen: Observation) -> None:
        """Count one observation, after closing the epochs that are over with it. Raises OutOfOrder."""
        number = int(seen.t) // EPOCH_S
        if number != self._epoch and not self.is_over:
            self._pass_to(number)
        if self.is_over:
            return
        self._n += 1
        facts = self._facts_of(seen)
        plan = self._route.decider.plan_for(facts)
        if plan.assigned is not None:
            self._counted.count(seen, plan, facts)

    def fold(self, part: Epoch) -> None:
        """Take in an epoch, or a part of one, that was counted elsewhere. Raises OutOfOrder."""
        if part.number < self._epoch:
            raise OutOfOrder(f"epoch {part.number} comes after epoch {self._epoch}; write a run in the order of time")
        if part.number != self._epoch and not self.is_over:
            self._pass_to(part.number)
        if not self.is_over:
            self._n += sum(arm.requests_n for arm in part.arms.values())
            self._parts.append(part)

    def end(self) -> None:
        """Nothing more will come."""
        if not self.is_over and self._epoch >= 0:
            self._close()
        if not self.is_over:
            self._finish((self._epoch + 1) * EPOCH_S)

    def take(self) -> list[Line | Final]:
        """What was said since this was last asked."""
        taken, self.lines = self.lines, []
        return taken

    def _pass_to(self, number: int) -> None:
        if number < self._epoch:
            raise OutOfOrder(f"t is in epoch {number}, after epoch {self._epoch}; write a run in the order of time")
        if self._epoch >= 0:
            self._close()
            self._wait(number)
        else:
            self._course = published(self._course, begun("", number * EPOCH_S))
        self._epoch = number

    def _close(self) -> None:
        counted = self._counted.close(self._epoch)
        parts, self._parts = [*self._parts, *filter(None, [counted])], []
        if parts:
            self._sliced = self._sliced.after(parts)
            self._follow(after_epoch(self._course, parts, self._setup.rule, self._setup.ramp), self._epoch)

    def _wait(self, number: int) -> None:
        """Up to an epoch: time goes by without a request."""
        if not self.is_over:
            course = after_pause(self._course, self._course.unread, number, self._setup.ramp)
            self._follow(course, int(course.state.last_tick_s) // EPOCH_S - 1)

    def _follow(self, course: Course, number: int) -> None:
        """Say what is new, and make it live."""
        before = self._course.state
        has_moved = (course.state.phase, course.state.step) != (before.phase, before.step)
        self._course = course
        if has_moved or course.judgement.verdict != self._verdict:
            self._verdict = course.judgement.verdict
            self.lines.append(self._line((number + 1) * EPOCH_S, MOVES[course.state.phase] if has_moved else ""))
        if has_moved and course.state.phase not in WAITING:
            self._finish((number + 1) * EPOCH_S)
        elif has_moved or (self._is_timed and not course.state.slow_s and self._counted.slow_s()):
            self._begin_step(self._route)

    def _begin_step(self, before: CompiledRoute | None) -> None:
        """Count for the present step, with what is slow as the past has it."""
        slow_s = self._counted.slow_s() if self._is_timed else ()
        state = replace(self._course.state, slow_s=slow_s or self._course.state.slow_s)
        self._route = self._setup.compiled(state, before.decider.allocation if before else None)
        self._course = published(self._course, state)
        self._counted.begin(self._route, state.step, state.slow_s)

    def _facts_of(self, seen: Observation) -> RequestFacts:
        unit = "" if seen.unit is None else str(seen.unit)
        own = unit or f"{self._name}/{self._n}"
        attributes = tuple(seen.attributes.get(name, "") for name in self._route.attribute_names)
        return RequestFacts("", unit, self._route.point_of(unit_bytes(own)), attributes)

    def _line(self, t: float, made: str) -> Line:
        state, judgement = self._course.state, self._course.judgement
        return Line(
            run=self._name,
            t=t,
            n=self._n,
            phase=state.phase,
            step=state.step + 1,
            share_ppm=live_ppm(self._setup.ramp.shares_ppm, state),
            verdict=judgement.verdict,
            guardrail=judgement.guardrail,
            log_e=_log_e(judgement),
            move=made,
        )

    def _finish(self, t: float) -> None:
        self.is_over = True
        slices = [tell_slice(each) for each in self._sliced.look().get(self._setup.rule.candidate, [])]
        self.lines.append(Final(self._name, FINALS[self._course.state.phase], t, self._n, slices))
        self._counted = Counted("")  # what it counted is of no use any more


def _log_e(judgement: Judgement) -> float:
    """Of the guardrail that the verdict is about, else the highest of all."""
    if judgement.guardrail == "srm":
        return judgement.srm_log_e
    named = [reading.log_e for reading in judgement.readings if reading.metric == judgement.guardrail]
    return max(named or [reading.log_e for reading in judgement.readings], default=-inf)
