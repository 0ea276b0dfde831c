"""What a rate can be: published bounds, and coverage by enumeration."""

from math import comb, exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.evidence.rates import best_rho, beta_strength, bounds, is_below, log_mixture, upper_bound, wilson

PROMISED = {
    100: (10.4, 12.4, 14.2, 19.0, 26.0),
    300: (2.0, 2.8, 3.5, 5.3, 7.8),
    500: (1.00, 1.53, 1.95, 3.01, 4.54),
    1000: (0.41, 0.71, 0.93, 1.47, 2.24),
    2000: (0.18, 0.35, 0.47, 0.74, 1.13),
    10_000: (0.032, 0.078, 0.102, 0.158, 0.237),
}


def test_the_mixture_is_the_reference_implementations():
    assert best_rho(100, 0.05) == pytest.approx(12.60056, abs=1e-5)
    strength = beta_strength(100, 0.05, 0.2, 0.8)
    assert log_mixture(10, 100, 0.2, 0.8, strength) == pytest.approx(-0.6941012, abs=1e-7)
    assert log_mixture(31.4308, 100, 0.2, 0.8, strength) == pytest.approx(log(20), abs=1e-4)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((700, 1000, 100), (0.651629, 0.745949)), ((15, 50, 50), (0.129556, 0.511896)),
        ((5, 50, 50), (0.013021, 0.269264)), ((1, 50, 50), (0, 0.134890)),
        ((100, 200, 1), (0.328923, 0.671076)), ((1, 2, 50), (0, 1)),
    ],
)  # fmt: skip
def test_intervals_are_the_reference_implementations(counts, expected):
    events_n, of_n, t_opt = counts
    assert bounds(events_n, of_n, 0.05, t_opt) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("of_n", PROMISED)
def test_upper_bounds_are_the_promised_ones(of_n):
    for events_n, percent in zip((0, 1, 2, 5, 10), PROMISED[of_n], strict=True):
        unit = 0.001 if of_n == 10_000 else 0.1 if of_n <= 300 else 0.01
        assert 100 * upper_bound(events_n, of_n) == pytest.approx(percent, abs=0.55 * unit)


@given(st.integers(1, 25), st.floats(0.01, 0.99))
def test_the_mean_of_e_at_the_true_rate_is_one(n, p):
    strength = beta_strength(1000 * p * (1 - p), 0.05, p, 1 - p)
    mean = sum(
        comb(n, k) * p**k * (1 - p) ** (n - k) * exp(log_mixture(k - n * p, n * p * (1 - p), p, 1 - p, strength))
        for k in range(n + 1)
    )
    assert mean == pytest.approx(1, rel=1e-6)


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_rate_that_was_seen_is_possible_and_more_events_raise_the_bound(events_n, good_n):
    of_n = events_n + good_n
    lower, upper = bounds(events_n, of_n)
    assert 0 <= lower <= events_n / of_n <= upper <= 1
    assert upper_bound(events_n + 1, of_n) >= upper - 1e-12


def test_nothing_seen_bounds_nothing():
    assert bounds(0, 0) == wilson(0, 0) == (0.0, 1.0)


def test_a_million_requests_are_finite():
    assert upper_bound(0, 10**6) < 4e-6
    assert upper_bound(500_000, 10**6) == pytest.approx(0.502, abs=1e-4)


def test_wilsons_interval():
    """Wilson's own: 10 of 100 at 95 %."""
    assert wilson(10, 100) == pytest.approx((0.05523, 0.17437), abs=1e-5)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(1e-4, 0.9))
def test_whether_the_bound_is_below_a_rate_is_told_without_looking_for_it(events_n, more_n, rate):
    of_n = events_n + more_n
    upper = upper_bound(events_n, of_n)
    if abs(upper - rate) > 1e-9:  # closer than what halving finds
        assert is_below(events_n, of_n, rate) == (upper < rate)
