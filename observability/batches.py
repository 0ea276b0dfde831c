"""How large the batches were that a model ran: read at scrape from counts that its batcher keeps."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # upper bounds of buckets, of rows and of calls alike


class Sizes(Protocol):
    """Counts per bucket of SIZES, one more for what lies beyond, and the sum of all sizes last."""

    @property
    def cells(self) -> Sequence[int]: ...


class BatchCounts(Protocol):
    """What one model's batcher has done: sizes of its runs, failed runs halved, calls expired before they were run; and
    how many calls wait for one.
    """

    @property
    def rows(self) -> Sizes: ...
    @property
    def calls(self) -> Sizes: ...
    @property
    def bisections_n(self) -> int: ...
    @property
    def expired_n(self) -> int: ...
    @property
    def waiting_n(self) -> int: ...


Batches = Sequence[tuple[str, str, BatchCounts]]  # route, arm, counts


def collect_batches(batches: Batches) -> Iterator[Metric]:
    """Every family about batches."""
    rows = HistogramMetricFamily("turnout_batch_rows", "Rows of one run of a model.", labels=_LABELS)
    calls = HistogramMetricFamily("turnout_batch_calls", "Calls that shared one run of a model.", labels=_LABELS)
    halved = CounterMetricFamily(
        "turnout_batch_bisections", "Batches that failed and were halved to find the call at fault.", labels=_LABELS
    )
    expired = CounterMetricFamily(
        "turnout_batch_expired", "Calls whose deadline passed before they were run.", labels=_LABELS
    )
    waiting = GaugeMetricFamily("turnout_batch_waiting", "Calls that wait for a run of the model.", labels=_LABELS)
    for route, arm, counts in batches:
        _add(rows, (route, arm), counts.rows)
        _add(calls, (route, arm), counts.calls)
        halved.add_metric((route, arm), counts.bisections_n)
        expired.add_metric((route, arm), counts.expired_n)
        waiting.add_metric((route, arm), counts.waiting_n)
    yield from (rows, calls, halved, expired, waiting)


def _add(family: HistogramMetricFamily, labels: tuple[str, str], sizes: Sizes) -> None:
    *counts, total = list(sizes.cells)
    family.add_metric(labels, list(zip(_EDGES, accumulate(counts), strict=True)), total)


_LABELS = ("route", "arm")
_EDGES = (*(f"{size}.0" for size in SIZES), "+Inf")
