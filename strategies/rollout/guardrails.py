"""Guardrails: what a candidate is watched for, and how much worse than the baseline it may be and still be promoted."""

from dataclasses import dataclass, replace
from math import ceil

from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import Duration, Problem, duration_s, share_ppm
from strategies.evidence.bounds import LATENCY, Bound, Form
from strategies.evidence.epochs import (
    ACTION,
    EPOCH_S,
    ERROR_RATE,
    FALLBACK_RATE,
    INVALID_OUTPUT,
    LATENCY_METRICS,
    RUN_ERRORS,
)

TIMED = (LATENCY, *LATENCY_METRICS)  # the first is all three quantiles as one guardrail
METRICS = (ERROR_RATE, INVALID_OUTPUT, FALLBACK_RATE, RUN_ERRORS, *TIMED)
IN_BURSTS = (FALLBACK_RATE, *TIMED)  # what an arm's surroundings do to it; the rest a model does by itself, one by one
RARE = 0.005  # a rate below which nobody asks for a ratio: of no event at all none can be proven
DEFAULT_MARGIN = "1.5x"
LONGEST_WINDOW_S = 86_400.0
LOWEST_RATIO, HIGHEST_RATIO = 1.05, 100.0  # closer to one, nothing is proven in anybody's lifetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One metric, or an action that the route declares, and how much worse is too much.

    A multiple of the baseline's rate (`1.5x`): any rise that is proven takes the candidate back, and for a promotion
    less than the multiple has to be proven, or a rate below half a percent. A rate (`0.5%`): the candidate's own has
    to stay below that, whatever the baseline's is, and with a `window` (`5m`) in every stretch of that length as well.
    """

    metric: str = ""
    action: str = ""
    no_worse_than: str = ""  # by default 1.5x; of an action it has to be written
    window: Duration = ""

    @property
    def counted(self) -> str:
        """The metric as it is counted."""
        return ACTION + self.action if self.action else self.metric


DEFAULT_GUARDRAILS = (
    Guardrail(metric=ERROR_RATE),
    Guardrail(metric=INVALID_OUTPUT),
    Guardrail(metric=RUN_ERRORS),
    Guardrail(metric=LATENCY),
)


def bound_of(guardrail: Guardrail) -> Bound:
    """What it demands, in numbers. Raises ValueError with the cure."""
    text = guardrail.no_worse_than.strip() or ("" if guardrail.action else DEFAULT_MARGIN)
    if not text:
        raise ValueError("nothing says how many are too many; write a multiple like 2x, or a rate like 3%")
    form = Form.AUTO if guardrail.metric in IN_BURSTS else Form.EVENTS
    if not text.endswith("x"):
        limit_ppm = share_ppm(text)
        if not 0 < limit_ppm < WHOLE_PPM:
            raise ValueError(f"a rate of {text} rules nothing out; write one above 0% and below 100%, or 1.5x")
        return Bound(
            metric=guardrail.counted, limit=limit_ppm / WHOLE_PPM, form=form, window_n=_epochs_n(guardrail.window)
        )
    try:
        ratio = float(text.removesuffix("x"))
    except ValueError:
        ratio = 0.0
    if not LOWEST_RATIO <= ratio <= HIGHEST_RATIO:
        raise ValueError(f"'{text}' is no margin; write a multiple from 1.05x to 100x, or a rate like 0.5%")
    rate = None if guardrail.metric in TIMED else RARE
    return Bound(metric=guardrail.counted, ratio=ratio, rate=rate, form=form)


def guardrail_problems(guardrails: tuple[Guardrail, ...]) -> list[Problem]:
    """Everything wrong with them; paths are within the strategy."""
    found = []
    seen: set[tuple[str, bool]] = set()
    for place, guardrail in enumerate(guardrails):
        path = ("guardrails", place)
        is_multiple = (guardrail.no_worse_than.strip() or DEFAULT_MARGIN).endswith("x")
        if bool(guardrail.metric) == bool(guardrail.action):
            found.append(Problem(path, "a guardrail is on one thing", "write a metric or an action"))
        elif guardrail.metric and guardrail.metric not in METRICS:
            what = f"no metric is called '{guardrail.metric}'"
            found.append(Problem((*path, "metric"), what, f"it can be {', '.join(METRICS)}"))
        elif (guardrail.counted, is_multiple) in seen:
            word = "action" if guardrail.action else "metric"
            what, cure = f"'{guardrail.counted}' is guarded twice", "write one multiple and one rate at most"
            found.append(Problem((*path, word), what, cure))
        seen.add((guardrail.counted, is_multiple))
        found += _window_problems(guardrail, path, is_multiple=is_multiple)
        try:
            bound_of(replace(guardrail, window=""))
        except ValueError as error:
            what, _, cure = str(error).partition("; ")
            found.append(Problem((*path, "no_worse_than"), what, cure))
    return found


def _window_problems(guardrail: Guardrail, path: tuple[str | int, ...], *, is_multiple: bool) -> list[Problem]:
    if not guardrail.window:
        return []
    here = (*path, "window")
    if is_multiple:
        return [Problem(here, "a multiple is of the baseline's rate at the same time", "leave the window out")]
    try:
        window_s = duration_s(guardrail.window)
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        return [Problem(here, what, cure)]
    if not EPOCH_S <= window_s <= LONGEST_WINDOW_S:
        return [Problem(here, f"a window of {guardrail.window} is out of range", "write between 10s and 1d")]
    return []


def _epochs_n(window: Duration) -> int:
    return ceil(duration_s(window) / EPOCH_S) if window else 0
