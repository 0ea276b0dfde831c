"""A merged list, and how much of each place belongs to which ranker."""

from collections.abc import Hashable, Sequence
from fractions import Fraction
from functools import cache

from msgspec import Struct

Item = Hashable
NOBODY: tuple[Fraction, ...] = ()


class Merged(Struct, frozen=True):
    """Items as they are shown. `shares` has for each place the part of a click that every ranker gets, or nothing.

    Parts of a place sum to one; an empty one is of a place that belongs to all alike, so that a click there says
    nothing.
    """

    items: tuple[Item, ...]
    shares: tuple[tuple[Fraction, ...], ...]


@cache
def whole(ranker: int, rankers_n: int) -> tuple[Fraction, ...]:
    """All of a place to one ranker."""
    return tuple(Fraction(int(ranker == each)) for each in range(rankers_n))


def shared_prefix_n(lists: Sequence[Sequence[Item]]) -> int:
    """How many places from the top all lists agree on."""
    count = 0
    for items in zip(*lists, strict=False):
        if any(item != items[0] for item in items):
            break
        count += 1
    return count


def refuse_repeats(lists: Sequence[Sequence[Item]]) -> None:
    """Raises ValueError for a list that names an item twice: its ranker has not ranked."""
    for place, items in enumerate(lists):
        if len(set(items)) != len(items):
            raise ValueError(f"list {place + 1} names an item twice")
