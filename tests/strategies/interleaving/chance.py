"""All that chance can do, with its probability, instead of a sample of it."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TypeVar

Result = TypeVar("Result")


class Path:
    """Coins that fall as they are told, and then on their first side; notes what else they could have done."""

    def __init__(self, told: tuple[int, ...]) -> None:
        self._told = told
        self.counts: list[int] = []

    def pick(self, count: int) -> int:
        place = len(self.counts)
        self.counts.append(count)
        return self._told[place] if place < len(self._told) else 0


def outcomes(play: Callable[[Path], Result]) -> Iterator[tuple[Fraction, Result]]:
    """Every result that `play` can have with the chance of it; equal results come several times."""
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        told = waiting.pop()
        path = Path(told)
        result = play(path)
        picked = told + (0,) * (len(path.counts) - len(told))
        for place in range(len(told), len(path.counts)):
            waiting.extend((*picked[:place], other) for other in range(1, path.counts[place]))
        chance = Fraction(1)
        for count in path.counts:
            chance /= count
        yield chance, result


def balanced(lists: tuple[tuple[object, ...], ...], k: int, coins: Path) -> tuple[tuple[object, ...], int]:
    """The foil: balanced interleaving (Joachims 2003), which favours one of two rankers for how their lists differ.

    A coin says who leads; then whoever's pointer is behind puts its item, if it is not there yet.
    """
    leads = coins.pick(2)
    items: list[object] = []
    places = [0, 0]
    while len(items) < k and all(place < len(ranked) for place, ranked in zip(places, lists, strict=True)):
        behind = leads if places[0] == places[1] else int(places[1] < places[0])
        item = lists[behind][places[behind]]
        places[behind] += 1
        if item not in items:
            items.append(item)
    return tuple(items), leads


def balanced_winner(lists: tuple[tuple[object, ...], ...], shown: tuple[object, ...], clicked: int) -> int:
    """Who a click on that place counts for: 0, 1, or -1 for a tie. Clicks within the least rank that covers it."""
    item = shown[clicked]
    depth = min(ranked.index(item) for ranked in lists if item in ranked) + 1
    hits = [item in ranked[:depth] for ranked in lists]
    return -1 if hits[0] == hits[1] else hits.index(True)
