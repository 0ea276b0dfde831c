"""The share test: its published vectors, and what makes it a test."""

from math import comb, exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evidence.share_test import HARM_RATIOS, SAFE_RATIOS, gained, log_mean, plus

IN_A_ROW = {
    0.5: (0.363403, 0.756584, 1.177899, 1.624820, 2.094312),
    0.25: (0.666694, 1.444536, 2.316658, 3.260178, 4.254200),
    0.1: (0.968304, 2.188665, 3.591416, 5.102299, 6.673262),
    0.05: (1.120223, 2.585951, 4.277977, 6.086392, 7.951716),
    0.01: (1.282913, 3.025582, 5.034546, 7.159304, 9.332892),
}


def harm(candidate_n, baseline_n, rho, theta0=1.0):
    return gained((candidate_n, baseline_n), rho, HARM_RATIOS, theta0)


def path(outcomes, rhos, thetas, theta0):
    """Ln E after each event."""
    total, found = (0.0,) * len(thetas), []
    for is_candidates, rho in zip(outcomes, rhos, strict=True):
        total = plus(total, gained((is_candidates, 1 - is_candidates), rho, thetas, theta0))
        found.append(log_mean(total))
    return found


@pytest.mark.parametrize("rho", IN_A_ROW)
def test_bad_events_of_the_candidate_in_a_row(rho):
    assert [log_mean(harm(n, 0, rho)) for n in range(1, 6)] == pytest.approx(IN_A_ROW[rho], abs=1e-6)


@pytest.mark.parametrize(
    ("rho", "events"), [(0.5, (7, 10)), (0.25, (4, 6, 8)), (0.1, (3, 4, 6)), (0.05, (3, 4, 5)), (0.01, (2, 3, 4))]
)
def test_so_many_in_a_row_convict(rho, events):
    for alpha, n in zip((20, 100, 1000), events, strict=False):
        assert log_mean(harm(n - 1, 0, rho)) < log(alpha) <= log_mean(harm(n, 0, rho))
    if rho == 0.5:
        assert log_mean(harm(12, 0, rho)) < log(1000)


def test_mixed_events_while_the_share_grows():
    found = path((1, 0, 1, 1, 0, 1, 1, 1, 0, 1), (0.05,) * 3 + (0.1,) * 3 + (0.25,) * 4, HARM_RATIOS, 1.0)
    expected = (1.120223, 0.927489, 2.320444, 3.738931, 3.233453, 4.703335, 5.755760, 6.826025, 5.773237, 6.829798)
    assert found == pytest.approx(expected, abs=1e-6)


def test_events_of_the_baseline_speak_for_the_candidate():
    ten = (0.361294, 0.737051, 1.127301, 1.531732, 1.949713, 2.380354, 2.822575, 3.275185, 3.736962, 4.206706)
    assert path((0,) * 10, (0.5,) * 10, SAFE_RATIOS, 1.5) == pytest.approx(ten, abs=1e-6)
    mixed = (0.361294, -0.001201, 0.353983, 0.723386, 0.349552, 0.712732, 1.090154, 1.481826, 1.076160, 1.461459)
    assert path((0, 1, 0, 0, 1, 0, 0, 0, 1, 0), (0.5,) * 10, SAFE_RATIOS, 1.5) == pytest.approx(mixed, abs=1e-6)


@given(st.lists(st.booleans(), max_size=30), st.floats(0.001, 0.999))
def test_counts_say_what_the_events_say_in_any_order(events, rho):
    one_by_one = (0.0,) * len(HARM_RATIOS)
    for is_candidates in events:
        one_by_one = plus(one_by_one, harm(is_candidates, not is_candidates, rho))
    assert one_by_one == pytest.approx(harm(sum(events), len(events) - sum(events), rho), abs=1e-9)


@given(st.integers(1, 12), st.floats(0.01, 0.99), st.floats(0.1, 1.0))
def test_a_candidate_that_is_no_worse_gains_nothing_on_average(n, rho, ratio):
    """All outcomes of n events, enumerated: the mean of E is at most 1, and 1 where the arms are equal."""
    chance = ratio * rho / (ratio * rho + 1 - rho)
    mean = sum(
        comb(n, k) * chance**k * (1 - chance) ** (n - k) * exp(log_mean(harm(k, n - k, rho))) for k in range(n + 1)
    )
    assert mean <= 1 + 1e-9
    assert ratio < 1 or mean == pytest.approx(1)


@given(st.integers(1, 12), st.floats(0.01, 0.99), st.floats(1.5, 10.0))
def test_a_candidate_at_the_margin_or_beyond_is_not_proven_safe_on_average(n, rho, ratio):
    chance = ratio * rho / (ratio * rho + 1 - rho)
    each = [exp(log_mean(gained((k, n - k), rho, SAFE_RATIOS, 1.5))) for k in range(n + 1)]
    assert sum(comb(n, k) * chance**k * (1 - chance) ** (n - k) * e for k, e in enumerate(each)) <= 1 + 1e-9


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))
def test_among_runs_without_replacement_the_mean_is_no_higher(failed_n, candidate_n, baseline_n):
    """Which of an epoch's runs failed is drawn without putting back; the coin only overstates the chance."""
    runs_n = candidate_n + baseline_n
    failed_n = min(failed_n, runs_n)
    ways = comb(runs_n, failed_n)
    mean = sum(
        comb(candidate_n, k) * comb(baseline_n, failed_n - k) / ways
        * exp(log_mean(harm(k, failed_n - k, candidate_n / runs_n)))
        for k in range(failed_n + 1)
    )  # fmt: skip
    assert mean <= 1 + 1e-9


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.001, 0.99))
def test_evidence_grows_with_the_candidates_events_and_falls_with_the_baselines(candidate_n, baseline_n, rho):
    here = log_mean(harm(candidate_n, baseline_n, rho))
    assert log_mean(harm(candidate_n + 1, baseline_n, rho)) > here > log_mean(harm(candidate_n, baseline_n + 1, rho))


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.01, 0.9), st.floats(0, 0.09))
def test_a_larger_share_is_the_careful_choice_against_a_candidate(candidate_n, baseline_n, rho, more):
    assert log_mean(harm(candidate_n, baseline_n, rho + more)) <= log_mean(harm(candidate_n, baseline_n, rho)) + 1e-9


@pytest.mark.parametrize("counts", [(10**6, 0), (0, 10**6), (10**6, 10**6)])
@pytest.mark.parametrize("rho", [1e-6, 0.5, 1 - 1e-6])
def test_a_million_events_are_finite(counts, rho):
    assert abs(log_mean(harm(*counts, rho))) < 1e8
