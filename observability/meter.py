"""What a route counts: plain integers in lists and dictionaries, found once per routing table, read at scrape.

Only the event loop writes here, so nothing is locked; a scrape from another thread copies each container in one step
and may at worst miss the request being recorded at that moment. Keys are closed sets (arms, codes, causes), never ids.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from msgspec import Struct

from observability.batches import BatchCounts
from observability.event import Call, RequestEvent, ShadowEvent

BOUNDS_S = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),  # half of a millisecond is slow for a small model
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
NO_ARM = "none"  # nobody answered, or the request is nobody's evidence
UNTRIED = frozenset({"not_ready", "overload"})  # causes of calls that never reached the model: their time says nothing

Tally = defaultdict[str, int]
Codes = defaultdict[tuple[str, str, int, str], int]  # strategy, protocol, HTTP status, gRPC status -> requests


class Histogram:
    """Counts per bucket of BOUNDS_S, one more for what lies beyond, and the sum last, in seconds."""

    __slots__ = ("cells",)

    def __init__(self) -> None:
        self.cells: list[float] = [0] * (len(BOUNDS_S) + 1) + [0.0]

    def observe(self, seconds: float) -> None:
        cells = self.cells
        cells[bisect_left(BOUNDS_S, seconds)] += 1
        cells[-1] += seconds


class CallStatistics(Struct, frozen=True):
    """What came of the calls that reached a version. Times are sums in seconds; `last_at` is Unix time, 0 for never."""

    succeeded_n: int = 0
    succeeded_s: float = 0.0
    failed_n: int = 0
    failed_s: float = 0.0
    rows_n: int = 0
    last_at: float = 0.0


class VersionCells:
    """What is counted per arm and version."""

    __slots__ = ("calls", "failed_n", "failed_s", "last_at", "requests", "rows_n")

    def __init__(self) -> None:
        self.requests: Codes = defaultdict(int)
        self.rows_n = 0
        self.calls: defaultdict[str, Histogram] = defaultdict(Histogram)  # by role
        self.failed_n = 0
        self.failed_s = 0.0
        self.last_at = 0.0


class ReplicaCounts(Protocol):
    """What was seen of an arm's replicas: put to rest for a while, asked in another's place, requests lost with one."""

    ejected_n: int
    retried_n: int
    lost_n: int


class ArmCells:
    """What is counted per arm, whatever its version. `provider` is "" until someone says what the arm runs on."""

    __slots__ = (
        *("assignments", "batches", "degraded", "fallbacks", "provider", "replicas"),
        *("shadow_drops", "shadows", "shadows_due_n", "shadows_pending_n"),
    )

    def __init__(self) -> None:
        self.assignments: Tally = defaultdict(int)  # by reason
        self.fallbacks: Tally = defaultdict(int)  # by cause
        self.shadows: Tally = defaultdict(int)  # by outcome
        self.shadow_drops: Tally = defaultdict(int)  # by reason
        self.shadows_due_n = 0
        self.shadows_pending_n = 0
        self.provider = ""
        self.degraded = False
        self.batches: BatchCounts | None = None  # None: this arm runs every call at once, or elsewhere
        self.replicas: ReplicaCounts | None = None  # None: no replicas are asked for it


class RouteCells:
    """All that is counted for one route. Lives as long as any routing table has the route."""

    def __init__(self) -> None:
        self.durations: defaultdict[str, Histogram] = defaultdict(Histogram)  # by protocol
        self.versions: dict[tuple[str, str], VersionCells] = {(NO_ARM, ""): VersionCells()}
        self.arms: dict[str, ArmCells] = {NO_ARM: ArmCells()}
        self.interleaved: Tally = defaultdict(int)  # "merged", or why not -> requests that should be
        self.meters: list[RouteMeter] = []

    @property
    def inflight_n(self) -> int:
        """Requests that have arrived and are not answered yet, under whichever table."""
        return sum(meter.inflight_n for meter in list(self.meters))


class RouteMeter:
    """Counts one route's requests under one routing table. Called from the event loop.

    An arm that the table did not name counts as "none", so that no mistake elsewhere can add series.
    """

    def __init__(self, cells: RouteCells, strategy: str, arms: Sequence[tuple[str, str]]) -> None:
        """`arms` are (name, version). Counters of arms that earlier tables had go on where they stood."""
        self.inflight_n = 0  # requests of this table that are not answered yet
        self._cells = cells
        self._strategy = strategy
        self._versions = {name: cells.versions.setdefault((name, version), VersionCells()) for name, version in arms}
        self._arms = {name: cells.arms.setdefault(name, ArmCells()) for name, _ in arms}
        self._keys = {*arms, (NO_ARM, "")}
        self._no_version, self._no_arm = cells.versions[NO_ARM, ""], cells.arms[NO_ARM]
        cells.meters.append(self)

    @property
    def keys(self) -> set[tuple[str, str]]:
        """What this meter keeps alive: (arm, version)."""
        return self._keys

    def begin(self) -> None:
        """A request of this route has arrived; `record` will be called for it exactly once."""
        self.inflight_n += 1

    def record(self, event: RequestEvent) -> None:
        """Count what the request came to."""
        cells = self._cells
        self.inflight_n -= 1
        cells.durations[event.protocol].observe(event.duration_ms * 0.001)
        answered = self._versions.get(event.answered_arm, self._no_version)
        answered.requests[self._strategy, event.protocol, event.http_status, event.grpc_status] += 1
        if event.status == "ok":
            answered.rows_n += event.rows
        self._arms.get(event.assigned_arm, self._no_arm).assignments[event.reason] += 1
        calls = event.calls
        for call in calls:
            self._time(call, event.at)
        if event.interleaving is not None or event.not_interleaved:
            cells.interleaved[event.not_interleaved or "merged"] += 1
        if len(calls) > 1:
            self._count_fallbacks(calls)

    def begin_shadow(self, arm: str) -> None:
        """A shadow call to this arm is due; `record_shadow` or `drop_shadow` will be called for it, exactly once."""
        cells = self._arms.get(arm, self._no_arm)
        cells.shadows_due_n += 1
        cells.shadows_pending_n += 1

    def record_shadow(self, event: ShadowEvent) -> None:
        """Count one shadow call that was made. One that broke while it was compared has no `call`."""
        arm = self._arms.get(event.arm, self._no_arm)
        arm.shadows_pending_n -= 1
        arm.shadows[event.outcome] += 1
        if event.call is not None:
            self._time(event.call, event.at)

    def drop_shadow(self, arm: str, reason: str) -> None:
        """Count one shadow call that was not made."""
        cells = self._arms.get(arm, self._no_arm)
        cells.shadows_pending_n -= 1
        cells.shadow_drops[reason] += 1

    def set_provider(self, arm: str, provider: str, *, degraded: bool) -> None:
        """Say which execution provider an arm really runs on, and whether another one was preferred."""
        self._arms[arm].provider, self._arms[arm].degraded = provider, degraded

    def watch_batches(self, arm: str, counts: BatchCounts) -> None:
        """Read at each scrape how large an arm's batches were."""
        self._arms[arm].batches = counts

    def watch_replicas(self, arm: str, counts: ReplicaCounts) -> None:
        """Read at each scrape what was seen of an arm's replicas."""
        self._arms[arm].replicas = counts

    def statistics(self, arm: str) -> CallStatistics:
        """What came of the calls to an arm of this table, in whatever role."""
        cells = self._versions[arm]
        counts = [histogram.cells for histogram in cells.calls.values()]
        return CallStatistics(
            succeeded_n=int(sum(sum(count[:-1]) for count in counts)) - cells.failed_n,
            succeeded_s=sum(count[-1] for count in counts) - cells.failed_s,
            failed_n=cells.failed_n,
            failed_s=cells.failed_s,
            rows_n=cells.rows_n,
            last_at=cells.last_at,
        )

    def forget(self) -> None:
        """Let go: what no other routing table counts disappears from the metrics. The meter must not be used again."""
        cells = self._cells
        cells.meters.remove(self)
        kept: set[tuple[str, str]] = set().union(*(meter.keys for meter in cells.meters))
        names = {name for name, _ in kept}
        cells.versions = {key: versions for key, versions in cells.versions.items() if key in kept}
        cells.arms = {name: arm for name, arm in cells.arms.items() if name in names}

    def _time(self, call: Call, at: float) -> None:
        if call.cause in UNTRIED:
            return
        cells = self._versions.get(call.arm, self._no_version)
        seconds = call.duration_ms * 0.001
        cells.calls[call.role].observe(seconds)
        cells.last_at = at
        if call.cause:
            cells.failed_n += 1
            cells.failed_s += seconds

    def _count_fallbacks(self, calls: tuple[Call, ...]) -> None:
        for failed, following in pairwise(calls):
            if following.role == "fallback":
                self._arms.get(failed.arm, self._no_arm).fallbacks[failed.cause] += 1
