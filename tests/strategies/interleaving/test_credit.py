"""Clicks become credit, and credit a preference, each once."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from strategies.interleaving.credit import Preference, count, credit
from strategies.interleaving.merged import NOBODY, Merged, whole

LIST = Merged(("a", "b", "c", "d"), (NOBODY, whole(0, 2), whole(1, 2), whole(0, 2)))


def test_a_click_counts_for_who_picked_the_item():
    assert (2, 1) == credit(LIST, [1, 2, 3], 2)


def test_a_place_that_belongs_to_nobody_a_second_click_and_one_beside_the_list_count_for_nothing():
    assert (1, 0) == credit(LIST, [0, 1, 1, 9, -1], 2)


def test_a_list_is_won_lost_tied_or_silent():
    found = Preference()
    for clicked in ([1], [1, 3], [2], [1, 2], [0], []):
        found = count(found, LIST, clicked)
    assert Preference(wins=2, losses=1, ties=2) == found


def test_real_searches_give_the_published_preferences():
    """The example sets of Wikimedia's `interleaved` package, by their wins, losses and ties."""
    published = {(754, 81, 71): 0.371413, (83, 720, 103): -0.351545, (395, 342, 138): 0.030286}
    for counts, delta in published.items():
        assert abs(delta - float(Preference(*counts).delta)) < 1e-6


@given(st.builds(Preference, *[st.integers(0, 1000)] * 3))
def test_a_preference_is_mirrored_by_exchanging_the_rankers(found):
    assert -found.delta == Preference(found.losses, found.wins, found.ties).delta
    assert abs(found.delta) <= Fraction(1, 2)
