"""The event log: offering costs an append; one background thread encodes, hashes and writes.

    offer --> bounded queue --> chunk of lines --> Destination
                   |                  |                 |
              queue_full        encode_failed      write_failed        every loss has a counter

Whatever the destination does, stall, fail or fill up, is felt by the thread alone. At any moment
offered = written + dropped + waiting.
"""

import time
from collections import deque
from collections.abc import Mapping
from threading import Event, Lock, Thread
from typing import Protocol

from msgspec import Struct

from observability.event import WideEvent
from observability.sinks.line import LineEncoder

CHUNK = 64  # events encoded at once: about 0.15 ms, so that the thread never holds the interpreter for long


class Destination(Protocol):
    """Somewhere lines can be kept. Called by the writer thread alone, but for the two figures."""

    def write(self, lines: bytes) -> int:
        """Keep whole lines; return how many bytes of `lines` are kept, fewer than given when it failed."""
        ...

    def close(self) -> None: ...

    @property
    def trouble(self) -> str:
        """Why the latest write fell short, "" if it did not."""
        ...

    @property
    def segments_deleted_n(self) -> int: ...


class Pace(Struct, frozen=True):
    """How much waits and how often the thread looks.

    `bound` is in events (some 0.9 KB each). `poll_s` is how old an event gets before it is written, `retry_s` the pause
    after a write that failed, `breath_s` the pause after each chunk, in which the threads that serve requests get the
    interpreter back.
    """

    bound: int = 65_536
    poll_s: float = 0.1
    breath_s: float = 0.0005
    retry_s: float = 1.0


DEFAULT_PACE = Pace()


class EventCounts(Struct, frozen=True):
    """What became of the events offered so far. `trouble` says why writing fails at present, "" when it does not."""

    written_n: int
    waiting_n: int
    dropped: Mapping[str, int]  # by reason: queue_full, closed, encode_failed, write_failed
    segments_deleted_n: int
    trouble: str


class EventLog:
    """Takes events from the hot path and gets them written, or counts why not."""

    def __init__(self, destination: Destination, encoder: LineEncoder, pace: Pace = DEFAULT_PACE) -> None:
        self._destination = destination
        self._encoder = encoder
        self._pace = pace
        self._room = pace.bound
        self._waiting: deque[WideEvent] = deque()
        self._in_hand_n = self._written_n = self._encode_failed_n = self._write_failed_n = 0  # the writer's
        self._refused = {"queue_full": 0, "closed": 0}
        self._refusing = Lock()
        self._closing = Event()
        self._abandoned = False
        self._retry_at = 0.0
        self._writer = Thread(target=self._run, name="turnout-events", daemon=True)
        self._writer.start()

    def offer(self, event: WideEvent) -> None:
        """Take one event, or drop and count it when the queue is full. Never waits, never raises; about 0.1 us."""
        if len(self._waiting) < self._room:
            self._waiting.append(event)
        else:
            self._refuse()

    def counts(self) -> EventCounts:
        """The counters as they stand; exact once the log is closed, a moment apart from each other before."""
        stranded_n = self._waiting_n() if self._has_ended() else 0
        return EventCounts(
            written_n=self._written_n,
            waiting_n=self._waiting_n() - stranded_n,
            dropped={
                "queue_full": self._refused["queue_full"],
                "closed": self._refused["closed"] + stranded_n,
                "encode_failed": self._encode_failed_n,
                "write_failed": self._write_failed_n,
            },
            segments_deleted_n=self._destination.segments_deleted_n,
            trouble=self._destination.trouble,
        )

    def close(self, timeout_s: float = 5.0) -> bool:
        """Write what waits, for at most `timeout_s`, and take no more. True if the writer got through in time.

        What it could not write is counted as dropped. Blocks the caller; closing twice is harmless.
        """
        self._room = 0
        self._closing.set()
        self._writer.join(timeout_s)
        self._abandoned = self._writer.is_alive()
        return not self._abandoned

    def _refuse(self) -> None:
        with self._refusing:
            self._refused["closed" if self._closing.is_set() else "queue_full"] += 1

    def _waiting_n(self) -> int:
        return len(self._waiting) + self._in_hand_n

    def _has_ended(self) -> bool:
        return self._abandoned or not self._writer.is_alive()

    def _run(self) -> None:
        while not self._closing.wait(self._pace.poll_s):
            if time.monotonic() >= self._retry_at:
                self._drain()
        self._drain()
        if not self._abandoned:
            self._give_up_on_the_rest()
            self._destination.close()

    def _drain(self) -> None:
        """Write chunk after chunk until nothing waits, a write falls short, or `close` has run out of patience."""
        while self._waiting and not self._abandoned:
            lines = self._take_chunk()
            kept = self._destination.write(lines) if lines else 0
            kept_n, lost_n = lines.count(b"\n", 0, kept), lines.count(b"\n", kept)
            self._written_n += kept_n
            self._write_failed_n += lost_n
            self._in_hand_n = 0
            if lost_n:
                self._retry_at = time.monotonic() + self._pace.retry_s
                return
            self._closing.wait(self._pace.breath_s)

    def _take_chunk(self) -> bytes:
        lines: list[bytes] = []
        for _ in range(min(CHUNK, len(self._waiting))):
            self._in_hand_n += 1
            event = self._waiting.popleft()
            try:
                lines.append(self._encoder.line(event))
            except Exception:  # noqa: BLE001 - one event that cannot be encoded must not cost the others
                self._encode_failed_n += 1
                self._in_hand_n -= 1
        return b"".join(lines)

    def _give_up_on_the_rest(self) -> None:
        while self._waiting:
            self._waiting.popleft()
            self._write_failed_n += 1
