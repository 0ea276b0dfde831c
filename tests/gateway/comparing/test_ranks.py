"""How alike two orders are, against published values and what must hold of every list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comparing.ranks import overlap_at, rank_biased_overlap, tau_b


def scores_of(order: str) -> np.ndarray:
    """Scores of a, b, c, ... by which `order` is theirs."""
    return np.array([-order.index(letter) for letter in sorted(order)], np.float64)


@pytest.mark.parametrize(
    ("left", "right", "least", "extrapolated"),
    [
        ("abcde", "edcba", 0.147285, 0.737775),
        ("abcde", "bacde", 0.309510, 0.9),
        ("abcde", "abcde", 0.409510, 1.0),
        ("abcde", "fghij", 0.0, 0.0),
        ("abcdefg", "acbdgfe", 0.453740, 0.932036),
    ],
)
def test_rank_biased_overlap_has_its_published_values(left, right, least, extrapolated):
    """Persistence 0.9."""
    assert rank_biased_overlap(left, right) == pytest.approx((least, extrapolated), abs=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "tau"),
    [("abcde", "edcba", -1.0), ("abcde", "bacde", 0.8), ("abcde", "abcde", 1.0), ("abcdefg", "acbdgfe", 0.619048)],
)
def test_tau_has_its_published_values(left, right, tau):
    assert tau_b(scores_of(left), scores_of(right)) == pytest.approx(tau, abs=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "tau"),
    [
        ([1, 2, 3], [1, 1, 1], 0.0),
        ([1, 1, 1], [2, 2, 2], 1.0),
        ([5], [7], 1.0),
        ([1, 1, 2, 3], [1, 2, 2, 3], 0.8),  # four pairs agree, and each has one tie among its six: 4 / 5
    ],
)
def test_tau_knows_ties(left, right, tau):
    assert tau_b(np.array(left, float), np.array(right, float)) == pytest.approx(tau)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=30), st.data())
def test_tau_lies_between_the_reverse_and_the_same(scores, data):
    other = np.array(data.draw(st.permutations(scores)), float)
    mine = np.array(scores, float)

    assert -1 - 1e-12 <= tau_b(mine, other) <= 1 + 1e-12
    assert tau_b(mine, mine) == pytest.approx(1.0)
    assert tau_b(mine, other) == pytest.approx(tau_b(other, mine))
    assert tau_b(mine, -other) == pytest.approx(-tau_b(mine, other)) or len(set(scores)) == 1


@given(st.lists(st.integers(), unique=True, max_size=30), st.randoms(use_true_random=False))
def test_overlaps_of_a_list_with_itself_are_whole_and_with_others_less(items, chance):
    other = items.copy()
    chance.shuffle(other)

    assert rank_biased_overlap(items, items)[1] == pytest.approx(1.0)
    assert 0.0 <= rank_biased_overlap(items, other)[0] <= rank_biased_overlap(items, other)[1] <= 1.0 + 1e-12
    assert overlap_at(items, other, depth=len(items) or 1) == 1.0


@pytest.mark.parametrize(("depth", "share"), [(1, 0.0), (2, 0.5), (3, 1.0), (10, 1.0)])
def test_overlap_counts_what_both_have_among_their_first(depth, share):
    assert overlap_at("abc", "bca", depth) == share
