"""Canary: a growing share of units meets the candidate; whoever met it at 5 % still meets it at 50 %."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from strategies.core.arm import Arms
from strategies.core.plan import WHOLE_PPM, Plan, answering
from strategies.core.spec import (
    Duration,
    Problem,
    Share,
    duration_problems,
    known_candidate,
    share_ppm,
    share_problems,
)
from strategies.core.state import RouteState, live_ppm


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One share of a ramp and the shortest stay there."""

    share: Share
    bake: Duration = "10m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    kind: Literal["canary"]
    candidate: str
    ramp: tuple[Step, ...]

    def problems(self, arms: Arms) -> list[Problem]:
        found = known_candidate(("candidate",), self.candidate, arms)
        for place, step in enumerate(self.ramp):
            found += share_problems(("ramp", place, "share"), step.share)
            found += duration_problems(("ramp", place, "bake"), step.bake)
        if not self.ramp:
            found.append(Problem(("ramp",), "a canary needs at least one step", "write for example [{share: 5%}]"))
        return found or self._falling_steps()

    def plans(self, arms: Arms, state: RouteState) -> tuple[Plan, ...]:
        """Two plans: the candidate with the live step's share, the baseline with the rest."""
        share = live_ppm(tuple(share_ppm(step.share) for step in self.ramp), state)
        return answering(arms[self.candidate], share, arms), answering(arms.baseline, WHOLE_PPM - share, arms)

    def _falling_steps(self) -> list[Problem]:
        shares = [share_ppm(step.share) for step in self.ramp]
        return [
            Problem(("ramp", place, "share"), "the ramp does not rise here", "give every step more than the one before")
            for place, (lower, higher) in enumerate(pairwise(shares), start=1)
            if higher <= lower
        ]


STRATEGY = Canary
