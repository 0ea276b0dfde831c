"""From the cells of routes to Prometheus families: done at scrape, so nothing here is in a request's way."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from observability.batches import collect_batches
from observability.meter import BOUNDS_S, ArmCells, Histogram, RouteCells, Tally, VersionCells

Routes = Sequence[tuple[str, RouteCells]]
Sample = tuple[tuple[str, ...], float]


def counter(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    """A family of counters; `name` is without `_total`."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def histogram(
    name: str, text: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Metric:
    """A family of histograms over BOUNDS_S, in seconds."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, measured in samples:
        *counts, total_s = list(measured.cells)
        family.add_metric(values, list(zip(_EDGES, accumulate(counts), strict=True)), total_s)
    return family


def collect_routes(routes: Routes) -> Iterator[Metric]:
    """Every family that has a `route` label. Each container is copied in one step: the event loop may be writing."""
    yield from _collect_requests(routes)
    yield from _collect_interleaved(routes)
    yield from _collect_calls(routes)
    yield from _collect_arms(routes)
    yield from collect_batches(
        [(route, arm, found.batches) for route, arm, found in _arms(routes) if found.batches is not None]
    )
    yield from _collect_replicas(_arms(routes))


def _collect_requests(routes: Routes) -> Iterator[Metric]:
    yield counter(
        "turnout_requests",
        "Requests answered, by the arm whose answer went out.",
        ("route", "arm", "version", "strategy", "protocol", "code"),
        [
            ((route, arm, version, strategy, protocol, str(http_status) if http_status else grpc_status or "none"), n)
            for route, arm, version, cells in _versions(routes)
            for (strategy, protocol, http_status, grpc_status), n in list(cells.requests.items())
        ],
    )
    yield histogram(
        "turnout_request_duration_seconds",
        "Time from a request's arrival to the last byte of its answer.",
        ("route", "protocol"),
        [
            ((route, protocol), measured)
            for route, cells in routes
            for protocol, measured in list(cells.durations.items())
        ],
    )
    yield gauge(
        "turnout_inflight_requests",
        "Requests that have arrived and are not answered yet.",
        ("route",),
        [((route,), cells.inflight_n) for route, cells in routes],
    )


def _collect_interleaved(routes: Routes) -> Iterator[Metric]:
    yield counter(
        "turnout_interleaved",
        "Requests whose answer is made of several arms', by what came of it.",
        ("route", "result"),
        [((route, result), n) for route, cells in routes for result, n in list(cells.interleaved.items())],
    )


def _collect_calls(routes: Routes) -> Iterator[Metric]:
    yield counter(
        "turnout_predictions",
        "Rows of the requests that were answered without an error.",
        ("route", "arm", "version"),
        [((route, arm, version), cells.rows_n) for route, arm, version, cells in _versions(routes)],
    )
    yield histogram(
        "turnout_call_duration_seconds",
        "Time of one call to a model; calls that never reached it are left out.",
        ("route", "arm", "version", "role"),
        [
            ((route, arm, version, role), measured)
            for route, arm, version, cells in _versions(routes)
            for role, measured in list(cells.calls.items())
        ],
    )


def _collect_arms(routes: Routes) -> Iterator[Metric]:
    arms = _arms(routes)
    yield _tallies(
        "turnout_assignments",
        "Requests by the arm they are counted for, and why they have it.",
        "reason",
        [(route, arm, cells.assignments) for route, arm, cells in arms],
    )
    yield _tallies(
        "turnout_fallbacks",
        "Calls that failed and were followed by a fallback, by the arm that failed.",
        "cause",
        [(route, arm, cells.fallbacks) for route, arm, cells in arms],
    )
    yield from _collect_shadows(arms)
    yield gauge(
        "turnout_arm_degraded",
        "1 when an arm runs on another execution provider than the one preferred.",
        ("route", "arm", "provider"),
        [((route, arm, cells.provider), int(cells.degraded)) for route, arm, cells in arms if cells.provider],
    )


def _collect_shadows(arms: Sequence[tuple[str, str, ArmCells]]) -> Iterator[Metric]:
    yield counter(
        "turnout_shadow_due",
        "Shadow calls that were due: requests for which the arm was drawn, once there was an answer.",
        ("route", "arm"),
        [((route, arm), cells.shadows_due_n) for route, arm, cells in arms if cells.shadows_due_n],
    )
    yield gauge(
        "turnout_shadow_pending",
        "Shadow calls that were due and are neither over nor dropped yet.",
        ("route", "arm"),
        [((route, arm), cells.shadows_pending_n) for route, arm, cells in arms if cells.shadows_due_n],
    )
    yield _tallies(
        "turnout_shadow_calls",
        "Shadow calls, by what they came to.",
        "outcome",
        [(route, arm, cells.shadows) for route, arm, cells in arms],
    )
    yield _tallies(
        "turnout_shadow_dropped",
        "Shadow calls that were due and not made.",
        "reason",
        [(route, arm, cells.shadow_drops) for route, arm, cells in arms],
    )


def _collect_replicas(arms: Sequence[tuple[str, str, ArmCells]]) -> Iterator[Metric]:
    found = [((route, arm), cells.replicas) for route, arm, cells in arms if cells.replicas is not None]
    labels = ("route", "arm")
    yield counter(
        "turnout_replica_ejections",
        "Times that a replica was told to rest, because it was worse than the others.",
        labels,
        [(place, counts.ejected_n) for place, counts in found],
    )
    yield counter(
        "turnout_replica_retries",
        "Requests that lost their replica and were asked once more, of another.",
        labels,
        [(place, counts.retried_n) for place, counts in found],
    )
    yield counter(
        "turnout_replica_losses",
        "Requests that were lost with their replica for good.",
        labels,
        [(place, counts.lost_n) for place, counts in found],
    )


def _tallies(name: str, text: str, label: str, tallies: Iterable[tuple[str, str, Tally]]) -> Metric:
    samples = [((route, arm, key), n) for route, arm, tally in tallies for key, n in list(tally.items())]
    return counter(name, text, ("route", "arm", label), samples)


def _arms(routes: Routes) -> list[tuple[str, str, ArmCells]]:
    return [(route, arm, found) for route, cells in routes for arm, found in list(cells.arms.items())]


def _versions(routes: Routes) -> list[tuple[str, str, str, VersionCells]]:
    return [
        (route, arm, version, found)
        for route, cells in routes
        for (arm, version), found in list(cells.versions.items())
    ]


_EDGES = (*map(repr, BOUNDS_S), "+Inf")
