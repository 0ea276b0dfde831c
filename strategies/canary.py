"""Canary: a growing share of units meets the candidate; whoever met it at 5 % still meets it at 50 %."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from strategies.core.arm import Arms
from strategies.core.plan import WHOLE_PPM, Plan, answering
from strategies.core.spec import (
    Duration,
    Problem,
    Share,
    duration_problems,
    duration_s,
    known_candidate,
    percent,
    share_ppm,
    share_problems,
)
from strategies.core.state import RouteState, live_ppm
from strategies.rollout.guardrails import DEFAULT_GUARDRAILS, Guardrail, guardrail_problems
from strategies.rollout.ramp import Inconclusive, Ramp

ALPHA_LIMITS = (0.0001, 0.2)
N_MIN_LIMITS = (30, 1_000_000)
TWINNED_LIMIT_PPM = WHOLE_PPM // 2  # of a step whose share a second arm has, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One share of a ramp and the shortest stay there."""

    share: Share
    bake: Duration = "10m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """`alpha` bounds the chance that a candidate that is no worse is ever taken back, over all steps and guardrails.

    With a `twin` the candidate is compared to a second copy of the baseline that has the same share, not to the rest.
    """

    kind: Literal["canary"]
    candidate: str
    ramp: tuple[Step, ...]
    guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
    alpha: float = 0.01
    n_min: int = 300  # requests of the candidate in a step; without an error they bound its rate at 2 %
    patience: Duration = "1d"
    on_inconclusive: Literal["hold", "rollback", "promote-with-approval"] = "hold"
    approve_above: Share = "100%"
    twin: bool = False
    slices: dict[str, tuple[str, ...]] = field(default_factory=dict)  # attribute -> values that are compared apart too

    def problems(self, arms: Arms) -> list[Problem]:
        found = known_candidate(("candidate",), self.candidate, arms)
        for place, step in enumerate(self.ramp):
            found += share_problems(("ramp", place, "share"), step.share)
            found += duration_problems(("ramp", place, "bake"), step.bake)
        if not self.ramp:
            found.append(Problem(("ramp",), "a canary needs at least one step", "write for example [{share: 5%}]"))
        found += guardrail_problems(self.guardrails) + self._limits()
        found += duration_problems(("patience",), self.patience) + share_problems(
            ("approve_above",), self.approve_above
        )
        return found or self._falling_steps() + self._untwinned_steps() + self._impossible()

    def plans(self, arms: Arms, state: RouteState) -> tuple[Plan, ...]:
        """The candidate with the live step's share, its twin with as much, the baseline with the rest.

        There is no twin where nothing is compared: once the candidate has all or nothing.
        """
        share = live_ppm(tuple(share_ppm(step.share) for step in self.ramp), state)
        candidate = answering(arms[self.candidate], share, arms)
        if not self.twin or not 0 < share <= TWINNED_LIMIT_PPM:
            return candidate, answering(arms.baseline, WHOLE_PPM - share, arms)
        rest = answering(arms.baseline, WHOLE_PPM - 2 * share, arms)
        return candidate, answering(arms.twin, share, arms), rest

    def rollout(self) -> Ramp:
        """What it may do by itself. Only without problems."""
        return Ramp(
            shares_ppm=tuple(share_ppm(step.share) for step in self.ramp),
            bakes_s=tuple(duration_s(step.bake) for step in self.ramp),
            patience_s=duration_s(self.patience),
            approve_above_ppm=share_ppm(self.approve_above),
            on_inconclusive=Inconclusive(self.on_inconclusive),
        )

    def _limits(self) -> list[Problem]:
        limits = (("alpha", self.alpha, ALPHA_LIMITS), ("n_min", self.n_min, N_MIN_LIMITS))
        return [
            Problem((word,), f"{value:g} is out of range", f"write between {low:g} and {high:g}")
            for word, value, (low, high) in limits
            if not low <= value <= high
        ]

    def _falling_steps(self) -> list[Problem]:
        shares = [share_ppm(step.share) for step in self.ramp]
        return [
            Problem(("ramp", place, "share"), "the ramp does not rise here", "give every step more than the one before")
            for place, (lower, higher) in enumerate(pairwise(shares), start=1)
            if higher <= lower
        ]

    def _untwinned_steps(self) -> list[Problem]:
        return [
            Problem(
                ("ramp", place, "share"),
                "a twin takes as many units as the candidate, and so many are not left",
                "end the ramp at 50% or lower: after its last step the candidate takes the whole route",
            )
            for place, step in enumerate(self.ramp)
            if self.twin and share_ppm(step.share) > TWINNED_LIMIT_PPM
        ]

    def _impossible(self) -> list[Problem]:
        ramp, found = self.rollout(), []
        if ramp.shares_ppm[0] > ramp.approve_above_ppm:
            what = f"the first step is above {percent(ramp.approve_above_ppm)}, and begins without anybody's approval"
            found.append(Problem(("approve_above",), what, "begin the ramp lower"))
        longest_s = max(ramp.bakes_s)
        if longest_s >= ramp.patience_s:
            what = f"patience of {self.patience} is over before a step has baked"
            found.append(Problem(("patience",), what, "give it more than the longest bake"))
        return found


STRATEGY = Canary
