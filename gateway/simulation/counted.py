"""Counting observations as a worker counts requests: the same tallies, closed epoch by epoch."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping

import msgspec

from gateway.config.compiled import CompiledRoute
from gateway.increments import LATENCY, LATENCY_BOUNDS_S, Increment, quantile_of
from gateway.simulation.observations import Observation, Saying
from gateway.tally import Tallies, Trial
from strategies.core.plan import Plan, RequestFacts
from strategies.evidence.epochs import (
    ACTION,
    EPOCH_S,
    ERROR_RATE,
    FALLBACK_RATE,
    INVALID_OUTPUT,
    RUN_ERRORS,
    ArmCounts,
    Epoch,
    Moments,
)

QUANTILES = (0.5, 0.9, 0.99)
LEAST_MEASURED_N = 100  # calls, for a 99th percentile to be one
COUNTED = frozenset({INVALID_OUTPUT, FALLBACK_RATE})  # metrics that are events, and no values
Failed = tuple[RequestFacts, Plan, Observation, Saying]


class Counted:
    """The counts of one run, under whatever step its rollout has come to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tallies = Tallies()
        self._latencies: deque[dict[int, int]] = deque(maxlen=360)  # of the epochs of the last hour
        self._shared: dict[tuple[int, str | int], list[Failed | None]] = {}  # None is a request that went well

    def begin(self, route: CompiledRoute, step: int, slow_s: tuple[float, ...]) -> None:
        """Count for a step from here on."""
        shares = {plan.assigned.name: plan.share_ppm for plan in route.plans if plan.assigned}
        arms = tuple(each.arm.name for each in route.arms)
        trial = Trial(self._name, step, shares, arms, slow_s, slicings=route.slicings)
        self._tally = self._tallies.route(trial)

    def count(self, seen: Observation, plan: Plan, facts: RequestFacts) -> None:
        """Count one request that was assigned by `plan`."""
        assigned = plan.assigned
        assert assigned is not None
        increment = self._increments(int(seen.t) // EPOCH_S)[assigned.index]
        if seen.withheld:
            increment.withheld_n += 1
            return
        increment.requests_n += 1
        self._tally.place(facts, increment)
        if facts.unit:
            self._tally.experiment.meet(facts.point, increment)
        else:
            increment.units_n += 1
        said = seen.of(assigned.name)
        self._measure(increment, said)
        if said.ok:
            for metric in (name for name, value in said.metrics.items() if value and name.startswith(ACTION)):
                self._tally.blame(metric, assigned.index, facts, seen.t, increment)
        failed = None if said.ok and not said.metrics.get(INVALID_OUTPUT) else (facts, plan, seen, said)
        if seen.batch is not None:
            self._shared.setdefault((assigned.index, seen.batch), []).append(failed)
            return
        increment.runs_n += 1
        if failed:
            self._blame(increment, assigned.index, failed)

    def close(self, number: int) -> Epoch | None:
        """The epoch that is over, None when nothing was counted in it."""
        self._settle_shared(number)
        counts = self._tallies.take(float((number + 1) * EPOCH_S))
        if not counts.cells:
            return None
        self._latencies.append(_pooled(cell.increment.latency_n for cell in counts.cells))
        key = counts.cells[0].key
        return Epoch(
            number,
            key.step,
            msgspec.json.decode(key.shares, type=dict[str, int]),
            {cell.key.arm: _arm_counts(cell.increment) for cell in counts.cells},
            crowded=tuple(counts.crowded.get(self._name, ())),
        )

    def slow_s(self) -> tuple[float, ...]:
        """p50, p90 and p99 of the last hour, of all arms; nothing where too little was measured."""
        pooled = _pooled(self._latencies)
        if sum(pooled.values()) < LEAST_MEASURED_N:
            return ()
        return tuple(quantile_of(pooled, share) or 0.0 for share in QUANTILES)

    def _increments(self, number: int) -> list[Increment]:
        return self._tally.cells.get(number) or self._tally.open(number)

    def _measure(self, increment: Increment, said: Saying) -> None:
        if said.latency_ms is not None:
            seconds = said.latency_ms / 1000
            bucket = bisect_left(LATENCY_BOUNDS_S, seconds)
            increment.latency_n[bucket] = increment.latency_n.get(bucket, 0) + 1
            increment.latency_s += seconds
            increment.latency_s2 += seconds * seconds
            for metric, limit_s in self._tally.slow:
                if seconds > limit_s:
                    increment.event(metric)
        for metric, value in said.metrics.items():
            if metric not in COUNTED and not metric.startswith(ACTION):
                increment.value(metric, value)

    def _blame(self, increment: Increment, arm: int, failed: Failed) -> None:
        facts, plan, seen, said = failed
        metric = INVALID_OUTPUT if said.metrics.get(INVALID_OUTPUT) else ERROR_RATE
        for each in (metric, FALLBACK_RATE) if plan.fallback else (metric,):
            self._tally.blame(each, arm, facts, seen.t, increment)

    def _settle_shared(self, number: int) -> None:
        """A run that all have failed in is one fault, of the run; otherwise each failed by itself."""
        for (arm, _), members in self._shared.items():
            increment = self._increments(number)[arm]
            increment.runs_n += 1
            failed = [each for each in members if each]
            if len(failed) == len(members):
                increment.event(RUN_ERRORS)
                continue
            for each in failed:
                self._blame(increment, arm, each)
        self._shared = {}


def _pooled(buckets: Iterable[Mapping[int, int]]) -> dict[int, int]:
    pooled: Counter[int] = Counter()
    for each in buckets:
        pooled.update(each)
    return dict(pooled)


def _arm_counts(increment: Increment) -> ArmCounts:
    measured_n = sum(increment.latency_n.values())
    latency = {LATENCY: Moments(measured_n, increment.latency_s, increment.latency_s2)} if measured_n else {}
    events = Counter(increment.events)
    events.update(bad.metric for bad in increment.bad if bad.counts)
    return ArmCounts(
        requests_n=increment.requests_n,
        units_n=increment.units_n + len(increment.units),
        runs_n=increment.runs_n,
        withheld_n=increment.withheld_n,
        events=dict(events),
        values={metric: Moments(*sums) for metric, sums in increment.values.items()} | latency,
    )
