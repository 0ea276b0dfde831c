"""Increments: what a worker has counted since it last said so, as it goes over the link and into the ledger.

Mutable while they grow, for the path of every request writes here; whoever has taken them only reads.
"""

from itertools import accumulate

from msgspec import Struct

PER_DECADE = 20  # buckets of a latency: neighbours differ by an eighth, and a threshold need be no finer
DECADES = 6
LATENCY_BOUNDS_S = tuple(1e-4 * 10 ** (n / PER_DECADE) for n in range(PER_DECADE * DECADES + 1))  # 0.1 ms to 100 s
LATENCY = "latency_s"


class Bad(Struct, frozen=True, array_like=True):
    """A bad event of a unit that had none of this metric here before: the ledger counts it if nobody else had it.

    `unit` is a signed number of 64 bits, `at` Unix time. Without `counts` it is an example of what is counted already,
    and the number is any.
    """

    metric: str
    unit: int
    event_id: str
    at: float
    counts: bool = True


class Increment(Struct, array_like=True):
    """One arm in one epoch of one step. `units` are those met here for the first time, `units_n` those without a name.

    `latency_n` counts the durations of calls that succeeded per bucket of LATENCY_BOUNDS_S, the bucket's number as key;
    `latency_s` is their sum and `latency_s2` that of their squares. `values` are sums likewise: how many, sum, squares.
    """

    requests_n: int = 0
    units_n: int = 0
    runs_n: int = 0
    withheld_n: int = 0
    events: dict[str, int] = {}
    values: dict[str, tuple[int, float, float]] = {}
    latency_n: dict[int, int] = {}
    latency_s: float = 0.0
    latency_s2: float = 0.0
    units: list[int] = []
    bad: list[Bad] = []

    def event(self, metric: str) -> None:
        """Count one event."""
        self.events[metric] = self.events.get(metric, 0) + 1

    def value(self, metric: str, value: float) -> None:
        """Count one measured value."""
        n, total, squares = self.values.get(metric, (0, 0.0, 0.0))
        self.values[metric] = (n + 1, total + value, squares + value * value)


class CellKey(Struct, frozen=True, array_like=True):
    """Where an increment belongs. `shares` is the JSON text of the arms' shares in ppm, by arm, in order of name."""

    experiment: str
    step: int
    shares: str
    epoch: int
    arm: str


class CellIncrement(Struct, frozen=True, array_like=True):
    """An increment and where it belongs."""

    key: CellKey
    increment: Increment


class Counts(Struct, frozen=True, array_like=True):
    """All that a worker counted since it last said so.

    `open_from` is the first epoch in which it may still count; `holding` are experiments that wait for the answers to
    older requests, with the first epoch that is open for them. `lost` are epochs in which it failed to count,
    `crowded` metrics whose units it could not remember any more: experiment to epochs, experiment to metrics.
    """

    open_from: int
    holding: dict[str, int] = {}
    cells: list[CellIncrement] = []
    lost: dict[str, list[int]] = {}
    crowded: dict[str, list[str]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether it tells no more than the time."""
        return not (self.cells or self.lost or self.crowded)


def add_moments(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[int, float, float]:
    """The sums of two sets of values as those of both."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def quantile_of(latency_n: dict[int, int], share: float) -> float | None:
    """The duration in seconds that `share` of the calls stay below, None when nothing was measured.

    Within a bucket durations are taken to lie evenly, on the logarithmic scale of the buckets.
    """
    total = sum(latency_n.values())
    if not total:
        return None
    buckets = sorted(latency_n)
    wanted = share * total
    for bucket, below_n in zip(buckets, accumulate(latency_n[bucket] for bucket in buckets), strict=True):
        if below_n >= wanted:
            inside = 1 - (below_n - wanted) / latency_n[bucket]
            return float(1e-4 * 10 ** ((bucket - 1 + inside) / PER_DECADE))
    raise AssertionError("a share lies within the whole")
