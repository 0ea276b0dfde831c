"""Every list is possible, the likely ones are likely, and a click is shared by who could have put the item there."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.interleaving.coins import HashedCoins
from strategies.interleaving.probabilistic import probabilistic, weights

LISTS = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6).map(tuple), min_size=2, max_size=3).map(tuple)


def test_the_chance_of_a_rank_falls_with_its_third_power():
    first, second, third = weights(3)
    assert pytest.approx((8, 27)) == (first / second, first / third)


def test_a_click_is_shared_by_the_chance_of_each_ranker():
    """At the top, a is first with one and second with the other: 1 / (1 + 1/8) of the chance against 1/8 of it."""
    merged = probabilistic(("ab", "ba"), 1, HashedCoins("s", "e", 0))
    share = merged.shares[0] if merged.items == ("a",) else merged.shares[0][::-1]
    assert pytest.approx((8 / 9, 1 / 9)) == tuple(map(float, share))


@given(LISTS, st.integers(0, 8), st.integers(0, 99))
def test_a_drawing_is_made_of_what_was_ranked(lists, k, row):
    merged = probabilistic(lists, k, HashedCoins("s", "e", row))
    assert len(set(merged.items)) == len(merged.items) == min(k, len(set().union(*lists)))
    for item, share in zip(merged.items, merged.shares, strict=True):
        assert Fraction(1) == sum(share)
        assert all(not part or item in ranked for part, ranked in zip(share, lists, strict=True))


def test_random_clicks_prefer_nobody():
    """Fixed coins, 20,000 lists, one click at a random place: the mean gain is within four standard errors of none."""
    gains = []
    for row in range(20_000):
        merged = probabilistic(("abcdef", "fbdace"), 6, HashedCoins("s", "e", row))
        share = merged.shares[HashedCoins("click", "e", row).pick(6)]
        gains.append(float(share[0] - share[1]))
    mean = sum(gains) / len(gains)
    deviation = (sum((gain - mean) ** 2 for gain in gains) / len(gains) ** 2) ** 0.5
    assert abs(mean) < 4 * deviation


def test_a_list_with_an_item_twice_is_refused():
    with pytest.raises(ValueError, match="list 1 names an item twice"):
        probabilistic(("aa", "ab"), 2, HashedCoins("s", "e", 0))
