"""How alike two orders of the same things are: Kendall's tau-b, rank-biased overlap, overlap at a depth."""

from collections.abc import Hashable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERSISTENCE = 0.9  # the reader of a list goes on to the next place so often: the first ten weigh 86 %
DEPTH = 10
FEW_N = 8  # items up to which Python goes through their pairs sooner than numpy's dozen of calls do


def tau_b(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Kendall's tau-b of two score vectors of one length k, ties allowed: 1 is the same order, -1 the reverse.

    Nothing to order (k below 2, or one vector all ties) is 1 if that is so in both, else 0. Takes k² steps.
    """
    if len(left) <= FEW_N:
        return _tau_of_few(left.tolist(), right.tolist())
    first, second = _signs(left), _signs(right)
    agreeing = float(np.sum(first * second))
    scale = sqrt(float(np.sum(np.abs(first))) * float(np.sum(np.abs(second))))
    if scale:
        return agreeing / scale
    return 1.0 if not first.any() and not second.any() else 0.0


def rank_biased_overlap(
    left: Sequence[Hashable], right: Sequence[Hashable], persistence: float = PERSISTENCE
) -> tuple[float, float]:
    """Rank-biased overlap of two lists, best first: what their common depth proves at least, and the extrapolation.

    The second is 1 for equal lists and 0 for lists that share nothing. Empty lists are equal.
    Source: Webber, Moffat, Zobel (2010), A similarity measure for indefinite rankings.
    """
    depth = min(len(left), len(right))
    if not depth:
        return (0.0, 1.0) if len(left) == len(right) else (0.0, 0.0)
    met: set[Hashable] = set()
    once: set[Hashable] = set()
    weight, least, agreement = 1 - persistence, 0.0, 0.0
    for place in range(depth):
        for item in (left[place], right[place]):
            (met if item in once else once).add(item)
        agreement = len(met) / (place + 1)
        least += weight * agreement
        weight *= persistence
    return least, min(1.0, least + agreement * persistence**depth)


def overlap_at(left: Sequence[Hashable], right: Sequence[Hashable], depth: int = DEPTH) -> float:
    """Share of the first `depth` places whose items both lists have among theirs. Empty lists are equal."""
    taken = min(depth, max(len(left), len(right)))
    return len(set(left[:taken]) & set(right[:taken])) / taken if taken else 1.0


def _tau_of_few(left: list[Any], right: list[Any]) -> float:
    """As `tau_b`, pair by pair."""
    agreeing = ordered_n = others_n = 0
    for place in range(len(left)):
        for later in range(place):
            one = (left[place] > left[later]) - (left[place] < left[later])
            other = (right[place] > right[later]) - (right[place] < right[later])
            agreeing += one * other
            ordered_n += one != 0
            others_n += other != 0
    if ordered_n and others_n:
        return agreeing / sqrt(ordered_n * others_n)
    return 1.0 if ordered_n == others_n else 0.0


def _signs(scores: NDArray[Any]) -> NDArray[Any]:
    """-1, 0 or 1 for every pair: how its two stand to each other. NaN ties with everything."""
    above = scores[:, None] > scores[None, :]
    return above.astype(np.float64) - above.T
