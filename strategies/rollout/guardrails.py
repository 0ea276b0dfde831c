"""Guardrails: what a candidate is watched for, and how much worse than the baseline it may be and still be promoted."""

from dataclasses import dataclass

from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import Problem, share_ppm
from strategies.evidence.bounds import LATENCY, Bound, Form
from strategies.evidence.epochs import ERROR_RATE, FALLBACK_RATE, INVALID_OUTPUT, LATENCY_METRICS, RUN_ERRORS

TIMED = (LATENCY, *LATENCY_METRICS)  # the first is all three quantiles as one guardrail
METRICS = (ERROR_RATE, INVALID_OUTPUT, FALLBACK_RATE, RUN_ERRORS, *TIMED)
IN_BURSTS = (FALLBACK_RATE, *TIMED)  # what an arm's surroundings do to it; the rest a model does by itself, one by one
RARE = 0.005  # a rate below which nobody asks for a ratio: of no event at all none can be proven
LOWEST_RATIO, HIGHEST_RATIO = 1.05, 100.0  # closer to one, nothing is proven in anybody's lifetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One metric and how much worse is too much.

    A multiple of the baseline's rate (`1.5x`): any rise that is proven takes the candidate back, and for a promotion
    less than the multiple has to be proven, or a rate below half a percent. A rate (`0.5%`): the candidate's own has
    to stay below that, whatever the baseline's is.
    """

    metric: str
    no_worse_than: str = "1.5x"


DEFAULT_GUARDRAILS = (
    Guardrail(metric=ERROR_RATE),
    Guardrail(metric=INVALID_OUTPUT),
    Guardrail(metric=RUN_ERRORS),
    Guardrail(metric=LATENCY),
)


def bound_of(guardrail: Guardrail) -> Bound:
    """What it demands, in numbers. Raises ValueError with the cure."""
    text = guardrail.no_worse_than.strip()
    form = Form.AUTO if guardrail.metric in IN_BURSTS else Form.EVENTS
    if not text.endswith("x"):
        limit_ppm = share_ppm(text)
        if not 0 < limit_ppm < WHOLE_PPM:
            raise ValueError(f"a rate of {text} rules nothing out; write one above 0% and below 100%, or 1.5x")
        return Bound(metric=guardrail.metric, limit=limit_ppm / WHOLE_PPM, form=form)
    try:
        ratio = float(text.removesuffix("x"))
    except ValueError:
        ratio = 0.0
    if not LOWEST_RATIO <= ratio <= HIGHEST_RATIO:
        raise ValueError(f"'{text}' is no margin; write a multiple from 1.05x to 100x, or a rate like 0.5%")
    rate = None if guardrail.metric in TIMED else RARE
    return Bound(metric=guardrail.metric, ratio=ratio, rate=rate, form=form)


def guardrail_problems(guardrails: tuple[Guardrail, ...]) -> list[Problem]:
    """Everything wrong with them; paths are within the strategy."""
    found = []
    seen: set[str] = set()
    for place, guardrail in enumerate(guardrails):
        path = ("guardrails", place)
        if guardrail.metric not in METRICS:
            what = f"no metric is called '{guardrail.metric}'"
            found.append(Problem((*path, "metric"), what, f"it can be {', '.join(METRICS)}"))
        elif guardrail.metric in seen:
            found.append(Problem((*path, "metric"), f"'{guardrail.metric}' is guarded twice", "write it once"))
        seen.add(guardrail.metric)
        try:
            bound_of(guardrail)
        except ValueError as error:
            what, _, cure = str(error).partition("; ")
            found.append(Problem((*path, "no_worse_than"), what, cure))
    return found
