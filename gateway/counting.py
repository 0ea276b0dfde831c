"""Counting: what a request says about the arm it was assigned to, whoever answered it. Evidence, apart from telemetry.

refused by the gateway itself, or given up before anything could be known         withheld
the caller's own fault                                                            nobody's
the call to the assigned arm failed, was slow, or answered what is no answer      an event of that arm
it answered what is declared as an action: in any row, once an answer             an event of that arm
"""

import logging
from bisect import bisect_left
from time import monotonic

from gateway.arrival import Arrival
from gateway.execution.outcome import Observation, Outcome, Routed
from gateway.increments import LATENCY_BOUNDS_S, Increment
from gateway.tally import RouteTally
from runners.core.tensor import InferenceResponse
from strategies.core.plan import RequestFacts
from strategies.evidence.epochs import EPOCH_S, ERROR_RATE, FALLBACK_RATE, INVALID_OUTPUT, RUN_ERRORS

LOG = logging.getLogger("turnout.counting")
EVENTS = {"invalid_output": INVALID_OUTPUT}  # by cause; any other is an error of the arm
SAID_S = 60.0  # between two lines of the log about counts that fail


class Counter:
    """Counts requests for evidence. It never raises: what it could not count is lost, and says so."""

    def __init__(self) -> None:
        self._said_at = float("-inf")

    def count(self, arrival: Arrival, routed: Routed, outcome: Outcome | None) -> None:
        """Count one request that was begun. `outcome` is None when the caller left before there was one."""
        tally, assigned = routed.route.tally, routed.decision.plan.assigned
        if tally is None or assigned is None:
            return
        epoch = int(arrival.at) // EPOCH_S
        try:
            increment = (tally.cells.get(epoch) or tally.open(epoch))[assigned.index]
            if outcome is None:
                _count_gone(tally, increment, arrival, routed.facts, assigned.index)
            elif not (seen := outcome.observations[0]).cause:
                _count_answer(tally, increment, seen, routed.facts, arrival)
                if tally.is_detailed:
                    _count_details(tally, increment, outcome, routed.facts, arrival)
            elif seen.is_untried:
                increment.withheld_n += 1
            elif not outcome.blames_caller:
                _count_failure(tally, increment, routed.facts, outcome, arrival)
        except Exception:  # noqa: BLE001 - an answer must not fail because it cannot be counted
            self._lose(tally, epoch)
        tally.end(epoch)

    def _lose(self, tally: RouteTally, epoch: int) -> None:
        tally.lose(epoch)
        if monotonic() - self._said_at > SAID_S:
            self._said_at = monotonic()
            LOG.error("a request of %s could not be counted", tally.experiment.name, exc_info=True)  # noqa: LOG014


def _count_answer(
    tally: RouteTally, increment: Increment, seen: Observation, facts: RequestFacts, arrival: Arrival
) -> None:
    """The way of nearly all requests, so everything is said out here."""
    increment.requests_n += 1
    if not seen.run or tally.is_new(seen.bound.arm.index, seen.run):
        increment.runs_n += 1
    if facts.unit:
        tally.experiment.meet(facts.point, increment)
    else:
        increment.units_n += 1
    duration_s, latency_n = seen.duration_s, increment.latency_n
    bucket = bisect_left(LATENCY_BOUNDS_S, duration_s)
    latency_n[bucket] = latency_n.get(bucket, 0) + 1
    increment.latency_s += duration_s
    increment.latency_s2 += duration_s * duration_s
    if tally.slow:
        _count_slow(tally, increment, duration_s, seen.bound.arm.index, arrival)


def _count_details(
    tally: RouteTally, increment: Increment, outcome: Outcome, facts: RequestFacts, arrival: Arrival
) -> None:
    """What the assigned arm itself has answered, and in which slices."""
    tally.place(facts, increment)
    answer, arm = outcome.answer, outcome.observations[0].bound.arm.index
    if isinstance(answer, InferenceResponse):
        for action in tally.actions:
            if action.is_in(answer.outputs):
                tally.blame(action.metric, arm, facts, arrival.at, increment)


def _count_failure(
    tally: RouteTally, increment: Increment, facts: RequestFacts, outcome: Outcome, arrival: Arrival
) -> None:
    seen = outcome.observations[0]
    arm = seen.bound.arm.index
    _meet(tally, increment, facts)
    if not seen.run or tally.is_new(arm, seen.run):
        increment.runs_n += 1
    if seen.loses_run:  # one fault, whoever was in that run: it is judged beside runs, and nowhere else
        if tally.is_new(arm, -seen.run):
            tally.experiment.show(RUN_ERRORS, arm, arrival.event_id, arrival.at, increment)
        return
    tally.blame(EVENTS.get(seen.cause, ERROR_RATE), arm, facts, arrival.at, increment)
    if len(outcome.observations) > 1:
        tally.blame(FALLBACK_RATE, arm, facts, arrival.at, increment)
    _count_slow(tally, increment, seen.duration_s, arm, arrival)


def _count_slow(tally: RouteTally, increment: Increment, duration_s: float, arm: int, arrival: Arrival) -> None:
    for metric, limit_s in tally.slow:
        if duration_s > limit_s:
            tally.experiment.show(metric, arm, arrival.event_id, arrival.at, increment)


def _count_gone(tally: RouteTally, increment: Increment, arrival: Arrival, facts: RequestFacts, arm: int) -> None:
    """A caller who left says nothing, unless they had waited for longer than any limit: then the arm was slow."""
    waited_s = monotonic() - arrival.started_at
    if not tally.slow or waited_s <= max(limit_s for _, limit_s in tally.slow):
        increment.withheld_n += 1
        return
    _meet(tally, increment, facts)
    increment.runs_n += 1
    _count_slow(tally, increment, waited_s, arm, arrival)


def _meet(tally: RouteTally, increment: Increment, facts: RequestFacts) -> None:
    increment.requests_n += 1
    tally.place(facts, increment)
    if facts.unit:
        tally.experiment.meet(facts.point, increment)
    else:
        increment.units_n += 1
