"""Team draft gives no ranker anything for its places: shown by all that can happen, not by a sample."""

from collections import Counter
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.interleaving.coins import HashedCoins
from strategies.interleaving.credit import credit
from strategies.interleaving.merged import NOBODY
from strategies.interleaving.team_draft import team_draft
from tests.strategies.interleaving.chance import balanced, balanced_winner, outcomes

HALF = Fraction(1, 2)
A, B = tuple(range(10)), (5, 0, 6, 1, 7, 2, 8, 3, 9, 4)
RELEVANCE = (2, 2, 1, 1, 1, 0, 0, 0, 0, 0)
# Click models by grade 0, 1, 2: P(click), P(stop after a click); Guo, Liu and Wang 2009, parameters of Hofmann et al.
MODELS = {
    "perfect": ((0, 0.5, 1), (0, 0, 0)),
    "navigational": ((0.05, 0.5, 0.95), (0.2, 0.5, 0.9)),
    "informational": ((0.4, 0.7, 0.9), (0.1, 0.3, 0.5)),
    "almost random": ((0.4, 0.5, 0.6), (0.5, 0.5, 0.5)),
    "random": ((0.5, 0.5, 0.5), (0, 0, 0)),
}
GOLDEN = {  # P(A wins), P(B wins), P(tie), E[clicks of A - clicks of B]
    "perfect": (1.000000, 0, 0, 3.500000),
    "navigational": (0.972842, 0.005699, 0.021459, 1.069654),
    "informational": (0.786245, 0.048376, 0.165379, 1.087400),
    "almost random": (0.529960, 0.271531, 0.198509, 0.373466),
    "random": (0.376953, 0.376953, 0.246094, 0),
}
LISTS = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=8).map(tuple), min_size=2, max_size=4).map(tuple)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_every_place_is_as_likely_one_rankers_as_the_others(k):
    """All 24 orders of four items against one of them, every coin."""
    for other in permutations("abcd"):
        gains = [Fraction(0)] * k
        for chance, merged in outcomes(lambda coins, other=other: team_draft(("abcd", other), k, coins)):
            for place, share in enumerate(merged.shares):
                gains[place] += chance * (share[0] - share[1] if share else 0)
        assert [0] * k == gains


def test_no_place_of_a_long_pair_favours_anybody():
    gains = [Fraction(0)] * 10
    for chance, merged in outcomes(lambda coins: team_draft((A, B), 10, coins)):
        for place, share in enumerate(merged.shares):
            gains[place] += chance * (share[0] - share[1])
    assert [0] * 10 == gains


def test_three_rankers_are_as_likely_at_every_place():
    lists = ("abcdef", "fedcba", "cabdfe")
    parts = [[Fraction(0)] * 3 for _ in range(6)]
    for chance, merged in outcomes(lambda coins: team_draft(lists, 6, coins)):
        for place, share in enumerate(merged.shares):
            parts[place] = [part + chance * each for part, each in zip(parts[place], share, strict=True)]
    assert [[Fraction(1, 3)] * 3] * 6 == parts


def test_the_four_drafts_of_a_short_pair():
    found = Counter()
    for chance, merged in outcomes(lambda coins: team_draft(("abc", "bca"), 3, coins)):
        teams = tuple("".join(i for i, s in zip(merged.items, merged.shares, strict=True) if s[r]) for r in (0, 1))
        found["".join(merged.items), teams] += chance
    assert {
        ("abc", ("ac", "b")): Fraction(1, 4),
        ("abc", ("a", "bc")): Fraction(1, 4),
        ("bac", ("ac", "b")): Fraction(1, 4),
        ("bac", ("a", "bc")): Fraction(1, 4),
    } == found


def test_it_cannot_tell_a_ranker_that_is_better_only_where_both_are_low():
    """Its known flaw: B ranks the only relevant item higher, and gains nothing by it."""
    gain = Fraction(0)
    for chance, merged in outcomes(lambda coins: team_draft(("abc", "bca"), 3, coins)):
        first, second = credit(merged, [merged.items.index("c")], 2)
        gain += chance * (first - second)
    assert 0 == gain


@pytest.mark.parametrize(("k", "wins"), [(4, (Fraction(1, 4), Fraction(3, 4))), (3, (Fraction(1, 3), Fraction(2, 3)))])
def test_the_balanced_method_is_not_fair_and_so_is_not_here(k, wins):
    """One click anywhere, A = abcd, B = bcda: who is shifted by one wins three of four."""
    lists = (tuple("abcd"), tuple("bcda"))
    found = [Fraction(0), Fraction(0)]
    for chance, (shown, _) in outcomes(lambda coins: balanced(lists, k, coins)):
        for place in range(k):
            winner = balanced_winner(lists, shown, place)
            for ranker in (0, 1):
                found[ranker] += chance / k * (HALF if winner < 0 else int(winner == ranker))
    assert wins == tuple(found)


@pytest.mark.parametrize("model", MODELS)
def test_the_published_table_of_click_models(model):
    """Exact, over all 32 lists and all that a reader can do with each."""
    click, stop = MODELS[model]
    wins = losses = ties = gain = 0.0
    for chance, merged in outcomes(lambda coins: team_draft((A, B), 10, coins)):
        for p, lead in _leads(merged, click, stop):
            wins += float(chance) * p * (lead > 0)
            losses += float(chance) * p * (lead < 0)
            ties += float(chance) * p * (lead == 0)
            gain += float(chance) * p * lead
    assert pytest.approx(GOLDEN[model], abs=1e-6) == (wins, losses, ties, gain)


def _leads(merged, click, stop) -> list[tuple[float, int]]:
    """How likely each lead of A over B in clicks is, when a reader goes from the top and may stop after a click."""
    going, ended = {0: 1.0}, Counter()
    for item, share in zip(merged.items, merged.shares, strict=True):
        grade, after = RELEVANCE[item], Counter()
        for lead, p in going.items():
            hit = lead + int(share[0] - share[1])
            after[lead] += p * (1 - click[grade])
            after[hit] += p * click[grade] * (1 - stop[grade])
            ended[hit] += p * click[grade] * stop[grade]
        going = after
    return [(p, lead) for part in (going, ended) for lead, p in part.items()]


@given(LISTS, st.integers(0, 12), st.text(max_size=5), st.integers(0, 3))
def test_a_draft_is_made_of_what_the_rankers_want(lists, k, event, row):
    """No item twice, none that nobody ranked, and above every item all that its ranker prefers to it."""
    merged = team_draft(lists, k, HashedCoins("salt", event, row))
    assert len(set(merged.items)) == len(merged.items) == min(k, len(set().union(*lists)))
    for place, (item, share) in enumerate(zip(merged.items, merged.shares, strict=True)):
        ranker = share.index(1) if share else 0
        above = lists[ranker][: lists[ranker].index(item)]
        assert set(above) <= set(merged.items[:place])


@given(LISTS.filter(lambda lists: len(lists) == 2), st.integers(1, 5))
def test_exchanging_the_rankers_mirrors_all_that_can_happen(lists, k):
    def played(pair, flip):
        found = Counter()
        for chance, merged in outcomes(lambda coins: team_draft(pair, k, coins)):
            found[merged.items, tuple(share[::flip] for share in merged.shares)] += chance
        return found

    assert played(lists, 1) == played(lists[::-1], -1)


@given(st.lists(st.integers(), unique=True, max_size=8), st.integers(0, 10))
def test_equal_lists_are_shown_as_they_are_and_nobody_gains(items, k):
    merged = team_draft((items, items), k, HashedCoins("s", "e", 0))
    assert (tuple(items[:k]), (NOBODY,) * len(items[:k])) == (merged.items, merged.shares)


def test_a_list_with_an_item_twice_is_refused():
    with pytest.raises(ValueError, match="list 2 names an item twice"):
        team_draft(("abc", "aba"), 3, HashedCoins("s", "e", 0))
