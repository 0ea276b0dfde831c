"""Means: GrowthBook's published vectors, and where the evidence ends."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evidence.epochs import Moments
from strategies.evidence.means import (
    Difference,
    absolute,
    half_width,
    log_e,
    one_sided_log_e,
    one_sided_width,
    passes_gate,
    proportion,
    relative,
)

A = Moments(3407, 1396.87, 52377.9767)
B = Moments(3461, 2422.7, 134698.29)
FEWER = Moments(3000, 1396.87, 52377.9767)


def around(difference, width):
    return (difference.estimate - width, difference.estimate + width)


def test_relative_and_absolute_differences_with_their_errors():
    found = relative(A, B)
    assert (found.estimate, found.error) == pytest.approx((0.70732, 0.37879), abs=5e-6)
    found = absolute(A, B)
    assert (found.estimate, found.error) == pytest.approx((0.29, 0.12478), abs=5e-6)


def test_an_interval_that_holds_whenever_one_looks():
    found = relative(FEWER, B)
    assert around(found, half_width(found, 0.05, 1000)) == pytest.approx((-0.55844, 1.56516), abs=5e-6)
    assert log_e(found, 0.05, 1000) < 0  # p is 1
    found = relative(proportion(1396, 3000), proportion(2422, 3461))
    assert (found.estimate, found.error) == pytest.approx((0.50386, 0.03386), abs=1e-5)
    assert around(found, half_width(found, 0.05, 5000)) == pytest.approx((0.40098, 0.60675), abs=2e-5)


def test_few_proportions():
    found = relative(proportion(14, 28), proportion(16, 30))
    assert found.error == pytest.approx(0.2717, abs=5e-5)


@given(st.floats(0.01, 3), st.floats(0.01, 1), st.integers(10, 10**6), st.sampled_from([0.01, 0.05]))
def test_evidence_reaches_its_level_where_the_interval_leaves_zero(estimate, error, n, alpha):
    difference = Difference(estimate, error, n)
    is_apart, is_above = estimate - half_width(difference, alpha), estimate - one_sided_width(difference, alpha)
    if abs(is_apart) > 1e-9:
        assert (is_apart > 0) == (log_e(difference, alpha) > log(1 / alpha))
    if abs(is_above) > 1e-9:
        assert (is_above > 0) == (one_sided_log_e(difference, alpha) > log(1 / alpha))


def test_nothing_is_said_before_each_side_has_five():
    assert not passes_gate(4, 1000)
    assert not passes_gate(996, 1000)
    assert passes_gate(5, 10)


@pytest.mark.parametrize("n", [2, 10**6, 10**12])
@pytest.mark.parametrize("estimate", [-1e6, 0.0, 1e-12, 1e6])
@pytest.mark.parametrize("error", [0.0, 1e-12, 1e6])
def test_evidence_is_finite(n, estimate, error):
    for found in (log_e(Difference(estimate, error, n), 0.01), one_sided_log_e(Difference(estimate, error, n), 0.01)):
        assert abs(found) <= 700
