"""Baseline: one arm answers everything. Where every route begins, and where it goes back to."""

from dataclasses import dataclass
from typing import Literal

from strategies.core.arm import Arms
from strategies.core.plan import WHOLE_PPM, Plan, answering
from strategies.core.spec import Problem
from strategies.core.state import RouteState


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    kind: Literal["baseline"] = "baseline"

    def problems(self, arms: Arms) -> list[Problem]:  # noqa: ARG002 - a baseline needs nothing but a baseline
        return []

    def plans(self, arms: Arms, state: RouteState) -> tuple[Plan, ...]:  # noqa: ARG002 - it never moves
        return (answering(arms.baseline, WHOLE_PPM, arms),)


STRATEGY = Baseline
