"""A/B: fixed shares of the units meet each candidate, the baseline keeps the rest; any number of arms."""

from dataclasses import dataclass, field
from typing import Literal

from strategies.core.arm import Arms
from strategies.core.plan import WHOLE_PPM, Plan, answering
from strategies.core.spec import Problem, Share, known_candidate, share_ppm, share_problems
from strategies.core.state import RouteState
from strategies.evidence.epochs import ERROR_RATE, INVALID_OUTPUT, RUN_ERRORS
from strategies.rollout.guardrails import TIMED, Guardrail, guardrail_problems

DEFAULT_GUARDRAILS = (
    Guardrail(metric=ERROR_RATE),
    Guardrail(metric=INVALID_OUTPUT),
    Guardrail(metric=RUN_ERRORS),
)
ALPHA_LIMITS = (0.0001, 0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ab:
    kind: Literal["ab"]
    shares: dict[str, Share]  # candidate -> share of the units, as written
    guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
    alpha: float = 0.05  # the chance that any candidate that is no worse is ever called worse
    slices: dict[str, tuple[str, ...]] = field(default_factory=dict)  # attribute -> values that are compared apart too

    def problems(self, arms: Arms) -> list[Problem]:
        found = [
            problem
            for name, share in self.shares.items()
            for problem in known_candidate(("shares", name), name, arms) + share_problems(("shares", name), share)
        ]
        found += guardrail_problems(self.guardrails) + self._odd()
        if not self.shares:
            found.append(Problem(("shares",), "an A/B test needs a candidate", "write for example {my-arm: 50%}"))
        if not found and sum(share_ppm(share) for share in self.shares.values()) > WHOLE_PPM:
            found.append(Problem(("shares",), "the shares sum to more than 100%", "the baseline takes what they leave"))
        return found

    def plans(self, arms: Arms, state: RouteState) -> tuple[Plan, ...]:  # noqa: ARG002 - shares stay as written
        """One plan for each arm; the baseline's is what the candidates leave."""
        shares = [(arms[name], share_ppm(share)) for name, share in self.shares.items()]
        rest = WHOLE_PPM - sum(share for _, share in shares)
        return tuple(answering(arm, share, arms) for arm, share in (*shares, (arms.baseline, rest)))

    def _odd(self) -> list[Problem]:
        found = [
            Problem(
                ("guardrails", place, "metric"),
                f"{guardrail.metric} is counted against a step before, and an A/B test has none",
                "leave it out: mean latencies are compared anyway",
            )
            for place, guardrail in enumerate(self.guardrails)
            if guardrail.metric in TIMED
        ]
        if not ALPHA_LIMITS[0] <= self.alpha <= ALPHA_LIMITS[1]:
            low, high = ALPHA_LIMITS
            found.append(Problem(("alpha",), f"{self.alpha:g} is out of range", f"write between {low:g} and {high:g}"))
        return found


STRATEGY = Ab
