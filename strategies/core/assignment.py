"""Assignment: a unit becomes a point, and a sorted list of intervals says which plan owns the point.

The map is integer arithmetic on the first 8 bytes of a SHA-256; no floating point, no process-dependent hash. A changed
map is derived from the one before and moves the fewest points possible, so raising a share only ever adds units.
"""

from bisect import bisect_right
from hashlib import sha256
from itertools import pairwise

from msgspec import Struct

from strategies.core.plan import WHOLE_PPM, Plan

POINTS = 1 << 64
SEPARATOR = b"\x1f"


def effective_salt(name: str, epoch: int = 0) -> str:
    """The text that is hashed before the unit. A new epoch deals every unit afresh."""
    return f"{name}/{epoch}"


def salted(salt: str) -> bytes:
    """The bytes that stand before the unit; computed once per route."""
    return salt.encode() + SEPARATOR


def unit_bytes(unit: str) -> bytes:
    """A unit's bytes as they came over the wire: no Unicode normalisation, undecodable bytes kept."""
    return unit.encode("utf-8", "surrogateescape")


def point_of(prefix: bytes, unit: bytes) -> int:
    """The unit's point in [0, 2^64): SHA-256 of salt, 0x1F, unit; its first 8 bytes, big-endian."""
    return int.from_bytes(sha256(prefix + unit).digest()[:8])


def width_of(share_ppm: int) -> int:
    """How many of the 2^64 points a share owns, rounded down."""
    return share_ppm * POINTS // WHOLE_PPM


class Allocation(Struct, frozen=True):
    """Intervals [starts[i], starts[i+1]) of points and the plan each belongs to; the first starts at 0."""

    starts: tuple[int, ...]
    plans: tuple[Plan, ...]

    def at(self, point: int) -> Plan:
        return self.plans[bisect_right(self.starts, point) - 1]

    def intervals(self) -> tuple[tuple[int, int, Plan], ...]:
        """Every interval as (start, end, plan), in order."""
        edges = (*self.starts, POINTS)
        return tuple((start, end, plan) for (start, end), plan in zip(pairwise(edges), self.plans, strict=True))


def reallocate(before: Allocation | None, plans: tuple[Plan, ...]) -> Allocation:
    """Give every plan its share of the points, moving as few as possible from where they were.

    Plans are matched by the arm they count. Their shares sum to one million; the last plan takes what rounding leaves.
    A plan that shrinks gives up the points it won last: the first of the list its highest, the last its lowest, so that
    widening and narrowing a canary are each other's inverse.
    """
    targets = _targets(plans)
    kept, freed = _release(before, plans, targets)
    held = [sum(end - start for start, end in spans) for spans in kept]
    for index, spans in enumerate(kept):
        spans.extend(_take(freed, targets[index] - held[index]))
    return _assemble(kept, plans)


def moves(before: Allocation, after: Allocation) -> dict[tuple[str, str], int]:
    """How many of the 2^64 points change hands, by (arm before, arm after); arms that give nothing are left out."""
    found: dict[tuple[str, str], int] = {}
    for start, end in pairwise(sorted({*before.starts, *after.starts, POINTS})):
        pair = _told(before.at(start)), _told(after.at(start))
        if pair[0] != pair[1]:
            found[pair] = found.get(pair, 0) + end - start
    return found


def _targets(plans: tuple[Plan, ...]) -> list[int]:
    if sum(plan.share_ppm for plan in plans) != WHOLE_PPM:
        raise ValueError(f"shares must sum to {WHOLE_PPM} ppm, not {sum(p.share_ppm for p in plans)}")
    widths = [width_of(plan.share_ppm) for plan in plans[:-1]]
    return [*widths, POINTS - sum(widths)]


Span = tuple[int, int]  # [start, end)


def _release(
    before: Allocation | None, plans: tuple[Plan, ...], targets: list[int]
) -> tuple[list[list[Span]], list[Span]]:
    """Split the old map into what each plan keeps and what is free to be dealt again, lowest points first."""
    kept: list[list[Span]] = [[] for _ in plans]
    freed: list[Span] = [(0, POINTS)] if before is None else []
    place = {_key(plan): index for index, plan in enumerate(plans)}
    for start, end, plan in before.intervals() if before else ():
        (kept[place[_key(plan)]] if _key(plan) in place else freed).append((start, end))
    for index, spans in enumerate(kept):
        is_last = index == len(plans) - 1
        spans.sort(reverse=is_last)
        surplus = sum(end - start for start, end in spans) - targets[index]
        while surplus > 0:
            start, end = spans.pop()
            given = min(surplus, end - start)
            surplus -= given
            split = start + given if is_last else end - given
            freed.append((start, split) if is_last else (split, end))
            if given < end - start:
                spans.append((split, end) if is_last else (start, split))
    return kept, sorted(freed)


def _take(freed: list[Span], wanted: int) -> list[Span]:
    taken: list[Span] = []
    while wanted > 0:
        start, end = freed.pop(0)
        given = min(wanted, end - start)
        taken.append((start, start + given))
        if start + given < end:
            freed.insert(0, (start + given, end))
        wanted -= given
    return taken


def _assemble(kept: list[list[Span]], plans: tuple[Plan, ...]) -> Allocation:
    owned = sorted((start, index) for index, spans in enumerate(kept) for start, end in spans if end > start)
    merged = [span for n, span in enumerate(owned) if n == 0 or owned[n - 1][1] != span[1]]
    return Allocation(tuple(start for start, _ in merged), tuple(plans[index] for _, index in merged))


def _key(plan: Plan) -> str:
    return plan.assigned.name if plan.assigned else ""


def _told(plan: Plan) -> str:
    return plan.label or _key(plan)
