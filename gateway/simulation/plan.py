"""A timetable of a ramp: how long each step takes, and how long until harm is seen there, or proven to be absent."""

from math import ceil
from typing import Any

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
            "share_ppm": round(stay.share * WHOLE_PPM),
            "stays_s": stay.seconds,
            "catch": _told(wait_to_catch(setup.rule, bound, stay.share, stream)),
            "promote": _told(wait_to_prove(setup.rule, bound, stay.share, stream)),
        }
        for number, stay in enumerate(stays)
    ]
    final = wait_to_prove(setup.rule, bound, stays[last].share, stream, stays=stays[:last])
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
    """The shortest stay at each step: its bake time, and as long as `n_min` requests of the candidate take."""
    stays = []
    for step, ppm in enumerate(setup.ramp.shares_ppm):
        share = ppm / WHOLE_PPM
        filled_s = setup.rule.n_min / (stream.requests_per_s * share) if share else float("inf")
        seconds = max(setup.ramp.bake_s(step), filled_s)
        stays.append(Stay(share, ceil(seconds / EPOCH_S) * EPOCH_S))
    return stays


def _bound(setup: Setup) -> Bound:
    bound = next((each for each in setup.rule.bounds if each.metric == ERROR_RATE), None)
    if bound is None:
        raise NoErrorRate(f"no guardrail watches {ERROR_RATE}, so its rate says nothing of how long this takes")
    return bound


def _told(wait: Wait | None) -> dict[str, float] | None:
    return None if wait is None else {"requests": round(wait.requests), "seconds": wait.seconds}
