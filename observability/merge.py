"""Several processes' metrics as one: each takes a snapshot of its families, and the sums look like one process's.

Counters and histograms are added. A gauge says by its meaning how those of several processes become one; GAUGES has
every gauge there is, and a test holds it to that.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from prometheus_client.core import Metric

GAUGES: dict[str, Callable[[float, float], float]] = {
    "turnout_arm_degraded": max,  # degraded anywhere is degraded
    "turnout_batch_waiting": float.__add__,
    "turnout_build": max,
    "turnout_events_waiting": float.__add__,
    "turnout_inflight_requests": float.__add__,
    "turnout_revision": min,  # a revision is live once everybody has it
    "turnout_shadow_pending": float.__add__,
    "turnout_uptime_seconds": min,  # falls when a process is replaced, as it would if there were but one
}
LASTING = frozenset({"counter", "histogram"})  # what a process leaves behind when it ends


class Sample(Struct, frozen=True, array_like=True):
    """One line of an exposition."""

    name: str
    labels: dict[str, str]
    value: float


class Family(Struct, frozen=True, array_like=True):
    """One family with its samples; `kind` is Prometheus's word for its type."""

    name: str
    kind: str
    text: str
    samples: list[Sample]


Snapshot = list[Family]


def snapshot_of(metrics: Iterable[Metric]) -> Snapshot:
    """The families as plain values that can be sent elsewhere."""
    return [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            [Sample(sample.name, dict(sample.labels), float(sample.value)) for sample in metric.samples],
        )
        for metric in metrics
    ]


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """One snapshot of all. Families and samples stand in the order in which they are met."""
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, ...], Sample]] = {}
    for snapshot in snapshots:
        for family in snapshot:
            families.setdefault(family.name, family)
            add = float.__add__ if family.kind in LASTING else GAUGES[family.name]
            merged = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, *sorted(f"{name}={value}" for name, value in sample.labels.items()))
                before = merged.get(key)
                value = sample.value if before is None else add(before.value, sample.value)
                merged[key] = Sample(sample.name, sample.labels, value)
    return [Family(name, family.kind, family.text, list(values[name].values())) for name, family in families.items()]


def lasting(snapshot: Snapshot) -> Snapshot:
    """What still counts once the process that took the snapshot has ended, so that no sum ever falls."""
    return [family for family in snapshot if family.kind in LASTING]


def metrics_of(snapshot: Snapshot) -> Iterable[Metric]:
    """The families as prometheus_client writes them out."""
    for family in snapshot:
        metric = Metric(family.name, family.text, family.kind)
        for sample in family.samples:
            metric.add_sample(sample.name, sample.labels, sample.value)
        yield metric
