"""A timetable of a ramp: how long each step takes, and how long until harm is seen there, or proven to be absent."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from msgspec.structs import replace

from gateway.config.check import twin_of
from gateway.simulation.forecast import Stay, Stream, Wait, wait_to_catch, wait_to_prove
from gateway.simulation.setup import Setup
from strategies.core.plan import WHOLE_PPM
from strategies.evidence.bounds import Bound
from strategies.evidence.epochs import EPOCH_S, ERROR_RATE


class NoErrorRate(ValueError):
    """A canary that does not watch the rate that a plan is about."""


def plan_of(setup: Setup, stream: Stream) -> dict[str, Any]:
    """The timetable as plain values; seconds and requests are medians, None where it takes longer than anybody waits.

    The fallback's share of a route is not known here: of all requests, each step's share goes to the candidate. Raises
    NoErrorRate.
    """
    bound = _bound(setup)
    stays = stays_of(setup, stream)
    last = len(stays) - 1
    steps = [
        {
            "step": number + 1,
            "share_ppm": setup.ramp.shares_ppm[number],
            "stays_s": stay.seconds,
            "catch": _told(_catch(setup, bound, stay, stream)),
            "promote": _told(_prove(setup, bound, stays[number : number + 1], stream)),
        }
        for number, stay in enumerate(stays)
    ]
    final = _prove(setup, bound, stays, stream)
    before_s = sum(stay.seconds for stay in stays[:last])
    return {
        "route": setup.document.route,
        "candidate": setup.rule.candidate,
        "requests_per_s": stream.requests_per_s,
        "error_rate": stream.error_rate,
        "guardrails": list(dict.fromkeys(each.metric for each in setup.rule.bounds)),
        "steps": steps,
        "promoted_after_s": None if final is None else before_s + max(stays[last].seconds, final.seconds),
        "patience_s": setup.ramp.patience_s,
    }


def stays_of(setup: Setup, stream: Stream) -> list[Stay]:
    """The shortest stay at each step: its bake time, and as long as `n_min` requests of the candidate take.

    With a twin half of the requests that are compared are the candidate's; the baseline's rest is compared to nobody.
    """
    stays, has_twin = [], bool(twin_of(setup.document))
    for step, ppm in enumerate(setup.ramp.shares_ppm):
        share = ppm / WHOLE_PPM
        filled_s = setup.rule.n_min / (stream.requests_per_s * share) if share else float("inf")
        seconds = max(setup.ramp.bake_s(step), filled_s)
        part = 2 * share if has_twin and share else 1.0
        stays.append(Stay(share / part, ceil(seconds / EPOCH_S) * EPOCH_S, part))
    return stays


def _catch(setup: Setup, bound: Bound, stay: Stay, stream: Stream) -> Wait | None:
    return _of_all(stay, wait_to_catch(setup.rule, bound, stay.share, _compared(stay, stream)))


def _prove(setup: Setup, bound: Bound, stays: Sequence[Stay], stream: Stream) -> Wait | None:
    """At the last of them, after the others."""
    *before, stay = stays
    shown = [replace(each, part=each.part / stay.part) for each in before]
    return _of_all(stay, wait_to_prove(setup.rule, bound, stay.share, _compared(stay, stream), stays=shown))


def _compared(stay: Stay, stream: Stream) -> Stream:
    return Stream(stream.requests_per_s * stay.part, stream.error_rate)


def _of_all(stay: Stay, wait: Wait | None) -> Wait | None:
    return wait and Wait(wait.requests / stay.part, wait.seconds)


def _bound(setup: Setup) -> Bound:
    bound = next((each for each in setup.rule.bounds if each.metric == ERROR_RATE), None)
    if bound is None:
        raise NoErrorRate(f"no guardrail watches {ERROR_RATE}, so its rate says nothing of how long this takes")
    return bound


def _told(wait: Wait | None) -> dict[str, float] | None:
    return None if wait is None else {"requests": round(wait.requests), "seconds": wait.seconds}
