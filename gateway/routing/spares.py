"""Spares: models that no table needs any more, kept open for a moment in case one does again.

To open a model takes milliseconds of the interpreter that requests wait for. An arm that was taken away and comes back
(an undo, a step to and fro, a route that is written anew) finds it as it was, threads and all.
"""

from collections import Counter
from collections.abc import Mapping
from time import monotonic

from msgspec import Struct

from runners.core.runner import Endpoint

KEEP_S = 10.0  # people take back at once what they take back at all; nobody should wonder for long where memory is
MOST_N = 16  # each has a thread that sleeps
MOST_BYTES = 64 << 20  # of model files; an open model takes about twice as much


class _Spare(Struct, frozen=True):
    key: str
    endpoint: Endpoint
    until: float


class Spares:
    """A few open models with the time until which each is kept, the oldest first. It closes none: its owner does."""

    def __init__(self, keep_s: float = KEEP_S, most_n: int = MOST_N, most_bytes: int = MOST_BYTES) -> None:
        self.keep_s = keep_s
        self._most_n = most_n
        self._most_bytes = most_bytes
        self._kept: list[_Spare] = []
        self._left_n: Counter[str] = Counter(dict.fromkeys(("taken", "expired", "displaced"), 0))

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of those that were kept: `taken` again, `expired`, or `displaced` by later ones."""
        return self._left_n

    def keep(self, key: str, endpoint: Endpoint, now: float | None = None) -> tuple[Endpoint, ...]:
        """Keep one; returns what is to be closed for it, which may be itself."""
        if not self._suits(endpoint):
            return (endpoint,)
        self._kept.append(_Spare(key, endpoint, (monotonic() if now is None else now) + self.keep_s))
        first = 0
        while len(self._kept) - first > self._most_n or self._bytes_from(first) > self._most_bytes:
            first += 1
        return self._leave(first, "displaced")

    def take(self, key: str) -> Endpoint | None:
        """The latest one that was kept under this key and is still fit for use, or none."""
        for spare in reversed(self._kept):
            if spare.key == key and spare.endpoint.ready():
                self._kept.remove(spare)
                self._left_n["taken"] += 1
                return spare.endpoint
        return None

    def overdue(self, now: float | None = None) -> tuple[Endpoint, ...]:
        """Those whose time is up; they are to be closed."""
        now = monotonic() if now is None else now
        return self._leave(sum(spare.until <= now for spare in self._kept), "expired")

    def clear(self) -> tuple[Endpoint, ...]:
        """All of them, to be closed, for nothing will be opened any more."""
        self._most_n = 0
        return self._leave(len(self._kept), "expired")

    def _suits(self, endpoint: Endpoint) -> bool:
        """Whether it is ours to keep, small enough, and as good as one that is opened afresh."""
        known = endpoint.description
        return 0 < known.held_bytes <= self._most_bytes and not known.degraded and endpoint.ready() and self._most_n > 0

    def _bytes_from(self, first: int) -> int:
        return sum(spare.endpoint.description.held_bytes for spare in self._kept[first:])

    def _leave(self, number: int, why: str) -> tuple[Endpoint, ...]:
        """The oldest `number` of them."""
        gone, self._kept = self._kept[:number], self._kept[number:]
        self._left_n[why] += number
        return tuple(spare.endpoint for spare in gone)
