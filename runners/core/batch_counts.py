"""How large batches were, counted as plain integers; read by whoever shows metrics."""

from bisect import bisect_left
from collections.abc import Sized
from itertools import count

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # upper bounds of buckets; one more is for what lies beyond


class Sizes:
    """Counts per bucket of SIZES and beyond, and the sum last."""

    __slots__ = ("cells",)

    def __init__(self) -> None:
        self.cells = [0] * (len(SIZES) + 2)

    def observe(self, size: int) -> None:
        self.cells[bisect_left(SIZES, size)] += 1
        self.cells[-1] += size


class BatchCounts:
    """What one batcher has done. `expired_n` are calls whose deadline passed before they were run, `queue` who waits.

    `runs` numbers the runs, from 1, of all who run the same model.
    """

    __slots__ = ("bisections_n", "calls", "expired_n", "queue", "rows", "runs")

    def __init__(self) -> None:
        self.rows = Sizes()
        self.calls = Sizes()
        self.bisections_n = 0
        self.expired_n = 0
        self.queue: Sized = ()
        self.runs = count(1)

    @property
    def waiting_n(self) -> int:
        """Calls that wait for a run to begin."""
        return len(self.queue)

    def count_run(self, *, rows_n: int, calls_n: int) -> None:
        """A run that ended well."""
        self.rows.observe(rows_n)
        self.calls.observe(calls_n)
