"""The sign test keeps its promise however often one looks, and its numbers are the published ones."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evidence.sign_test import decided_needed, interval, log_e, p_value

COUNTS = st.integers(0, 5000)


@pytest.mark.parametrize(
    ("wins", "losses", "beta", "expected"),
    [
        (60, 40, 1, -0.090965),
        (60, 40, 10, 0.782343),
        (60, 40, 50, 0.658892),
        (550, 450, 1, 1.774509),
        (550, 450, 10, 2.936514),
        (550, 450, 50, 3.354668),
        (550, 450, 200, 2.950203),
    ],
)
def test_it_gives_the_numbers_of_the_mixture(wins: int, losses: int, beta: float, expected: float) -> None:
    assert expected == pytest.approx(log_e(wins, losses, beta), abs=5e-7)


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [(754, 81, 268.516), (83, 720, 247.724), (395, 342, 0.616622)],
)
def test_it_finds_what_is_known_of_real_searches(wins: int, losses: int, expected: float) -> None:
    """Wikimedia's example sets: two with a clear preference, one without.

    Source: bearloga/interleaved-python, BSD-3.
    """
    assert expected == pytest.approx(log_e(wins, losses), abs=5e-4)


@given(wins=COUNTS, losses=COUNTS)
def test_neither_side_is_favoured(wins: int, losses: int) -> None:
    assert log_e(losses, wins) == pytest.approx(log_e(wins, losses), abs=1e-8)


@given(wins=st.integers(0, 400), losses=st.integers(0, 400))
def test_under_the_null_tomorrow_is_worth_today(wins: int, losses: int) -> None:
    """A martingale: the mean over a fair coin's two sides is where it stands."""
    today = log_e(wins, losses)
    sides = [2.718281828459045 ** (log_e(wins + side, losses + 1 - side) - today) for side in (0, 1)]
    assert sum(sides) / 2 == pytest.approx(1.0, rel=1e-9)


def test_looking_after_every_list_raises_no_false_preference() -> None:
    """Rankers that are alike are told apart in at most one of twenty experiments, looked at all the time."""
    chance = random.Random(20261126)
    shown_n = 0
    for _ in range(600):
        wins, peak = 0, 0.0
        for total in range(1, 401):
            wins += chance.random() < 0.5
            peak = max(peak, log_e(wins, total - wins))
        shown_n += p_value(peak) <= 0.05
    assert shown_n <= 600 * 0.05


def test_a_preference_of_six_in_ten_is_found_in_some_hundred_lists() -> None:
    """SCIENCE's median is 227 decided lists; within a fifth of it."""
    chance = random.Random(7)
    needed = []
    for _ in range(301):
        wins = total = 0
        while log_e(wins, total - wins) < 2.995732:
            total += 1
            wins += chance.random() < 0.6
        needed.append(total)
    assert 227 * 0.8 <= sorted(needed)[150] <= 227 * 1.2


@given(wins=st.integers(0, 2000), losses=st.integers(0, 2000))
def test_the_interval_holds_the_rate_seen_and_is_what_the_test_allows(wins: int, losses: int) -> None:
    low, high = interval(wins, losses, 0.05)
    seen = wins / (wins + losses) if wins + losses else 0.5
    assert 0 <= low <= seen <= high <= 1
    assert (low <= 0.5 <= high) == (log_e(wins, losses) < 2.995732273)


def test_the_interval_narrows() -> None:
    widths = [high - low for low, high in (interval(6 * n, 4 * n, 0.05) for n in (1, 10, 100, 1000))]
    assert sorted(widths, reverse=True) == widths
    assert widths[-1] < 0.04


def test_what_is_still_needed_is_enough_and_no_more() -> None:
    more = decided_needed(60, 40, 0.05)
    ahead = round(0.6 * (100 + more))
    assert log_e(ahead, 100 + more - ahead) >= 2.995732
    assert 100 < more < 200
    assert None is decided_needed(0, 0, 0.05)
    assert None is decided_needed(500, 500, 0.05)
    assert 0 == decided_needed(900, 100, 0.05)
