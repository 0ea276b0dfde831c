"""Readers who click by place alone, whatever stands there, prefer nobody, however often one looks."""

import random
from collections.abc import Callable

import pytest

from strategies.evidence.sign_test import log_e, p_value
from strategies.interleaving.credit import Preference, count
from strategies.interleaving.team_draft import team_draft
from tests.strategies.interleaving.chance import outcomes

A, B = tuple(range(10)), (5, 0, 6, 1, 7, 2, 8, 3, 9, 4)
DRAFTS = [merged for _, merged in outcomes(lambda coins: team_draft((A, B), 10, coins))]  # 32, each as likely
EXPERIMENTS_N = 300
LISTS_N = 300
ALPHA = 0.05
Reader = Callable[[random.Random], list[int]]


def often_above(chance: random.Random) -> list[int]:
    """Clicks anywhere, the more likely the higher: 1, 1/2, 1/3, …"""
    return [place for place in range(10) if chance.random() * (place + 1) < 1]


def first_glance(chance: random.Random) -> list[int]:
    """Clicks once, and seldom far down: goes on to the next place with 0.6."""
    place = 0
    while place < 9 and chance.random() < 0.6:
        place += 1
    return [place]


def tired(chance: random.Random) -> list[int]:
    """Goes down from the top, clicks with 0.4, and leaves after a click with 0.5."""
    clicked = []
    for place in range(10):
        if chance.random() < 0.4:
            clicked.append(place)
            if chance.random() < 0.5:
                break
    return clicked


@pytest.mark.parametrize("reader", [often_above, first_glance, tired])
def test_random_clicks_show_no_preference_more_often_than_promised(reader: Reader) -> None:
    """300 experiments, looked at after each of their 300 lists; at most one of twenty may show what is not there."""
    chance = random.Random(f"experiments of {reader.__name__}")
    shown_n = 0
    for _ in range(EXPERIMENTS_N):
        found, peak = Preference(), 0.0
        for _ in range(LISTS_N):
            found = count(found, chance.choice(DRAFTS), reader(chance))
            peak = max(peak, log_e(found.wins, found.losses))
        shown_n += p_value(peak) <= ALPHA
    assert shown_n <= ALPHA * EXPERIMENTS_N


def test_the_same_readers_do_show_a_preference_where_there_is_one() -> None:
    """The test above can fail: who clicks on the first ranker's items alone is noticed in some dozen lists."""
    found, peak = Preference(), 0.0
    chance = random.Random(1)
    for _ in range(60):
        merged = chance.choice(DRAFTS)
        clicked = [place for place, share in enumerate(merged.shares) if share[0] == 1]
        found = count(found, merged, clicked)
        peak = max(peak, log_e(found.wins, found.losses))
    assert p_value(peak) < 1e-4
