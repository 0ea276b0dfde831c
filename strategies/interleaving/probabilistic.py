"""Probabilistic interleaving: every place is drawn from a ranker that a coin names, more likely from its top.

A click is shared among all rankers by how likely each was to put that item there, whoever did: Hofmann, Whiteson and
de Rijke, CIKM 2011. It shows lists that no ranker would, which is the price of being exact about credit.
"""

from collections.abc import Sequence
from fractions import Fraction

from strategies.interleaving.coins import Coins
from strategies.interleaving.merged import Item, Merged, refuse_repeats

TAU = 3  # the chance of an item falls with the third power of its rank
SCALE = 1 << 48  # chances are whole numbers, so that every machine draws the same


def probabilistic(lists: Sequence[Sequence[Item]], k: int, coins: Coins) -> Merged:
    """The first `k` items of the drawing, or all there are. Raises ValueError for a list with an item twice."""
    refuse_repeats(lists)
    left = [list(ranked) for ranked in lists]
    items: list[Item] = []
    shares: list[tuple[Fraction, ...]] = []
    while len(items) < k:
        able = [ranker for ranker, ranked in enumerate(left) if ranked]
        if not able:
            break
        drawn_from = left[able[coins.pick(len(able))]]
        item = drawn_from[_draw(len(drawn_from), coins)]
        shares.append(_shares(left, able, item))
        items.append(item)
        for ranked in left:
            if item in ranked:
                ranked.remove(item)
    return Merged(tuple(items), tuple(shares))


def weights(count: int) -> list[int]:
    """How likely each rank is, from the top, as whole numbers."""
    return [SCALE // rank**TAU for rank in range(1, count + 1)]


def _draw(count: int, coins: Coins) -> int:
    chances = weights(count)
    point = coins.pick(sum(chances))
    for place, chance in enumerate(chances):
        if point < chance:
            return place
        point -= chance
    raise AssertionError(point)


def _shares(left: Sequence[Sequence[Item]], able: Sequence[int], item: Item) -> tuple[Fraction, ...]:
    chances = [
        Fraction(weights(len(ranked))[ranked.index(item)], sum(weights(len(ranked))))
        if place in able and item in ranked
        else Fraction(0)
        for place, ranked in enumerate(left)
    ]
    total = sum(chances)
    return tuple(chance / total for chance in chances)
