"""What became of spans: the one thing that whoever makes, exports and counts them has to agree on."""

from collections.abc import Mapping

from msgspec import Struct


class SpanCounts(Struct, frozen=True):
    """What became of the spans made so far. `dropped` is by reason: queue_full, export_failed, closed."""

    exported_n: int
    waiting_n: int
    dropped: Mapping[str, int]


NO_SPANS = SpanCounts(exported_n=0, waiting_n=0, dropped={"queue_full": 0, "export_failed": 0, "closed": 0})
