"""Sample ratio mismatch, by published vectors; and what it must not mistake for one."""

from math import exp, log

import pytest

from strategies.evidence.units import Mismatch, log_bayes_factor, log_likelihood, log_marginal, met

CHANCES = (0.4, 0.4, 0.2)


def test_single_units_as_the_reference_counts_them():
    counts, marginals, likelihoods = [0, 0, 0], [], []
    for arm in (0, 1, 0, 1, 2):
        counts[arm] += 1
        marginals.append(log_marginal(counts, (1, 1, 1)))
        likelihoods.append(log_likelihood(counts, CHANCES))
    assert marginals == pytest.approx((-1.098612289, -2.484906650, -3.401197382, -4.499809670, -6.445719819))
    assert likelihoods == pytest.approx((-0.916290732, -1.832581464, -2.748872196, -3.665162927, -5.274600840))


def test_batches_of_units_as_the_reference_counts_them():
    """The reference counts orders as well, which cancel in the factor."""
    published = ((-7.028201432, -4.077640647), (-11.947847738, -8.265946861), (-15.471401950, -11.610743520),
                 (-19.964845211, -15.781031229))  # fmt: skip
    counts = [0, 0, 0]
    for batch, (marginal, likelihood) in zip(
        ([20, 17, 9], [18, 21, 8], [4, 6, 4], [18, 19, 11]), published, strict=True
    ):
        counts = [a + b for a, b in zip(counts, batch, strict=True)]
        factor = log_marginal(counts, (1, 1, 1)) - log_likelihood(counts, CHANCES)
        assert factor == pytest.approx(marginal - likelihood, abs=1e-8)


@pytest.mark.parametrize(("units_n", "new_n"), [(1000, 550), (4000, 2200)])
def test_a_gross_mismatch_is_seen_and_a_fair_split_is_not(units_n, new_n):
    """55 instead of 50 % is seen after some 1,650 units."""
    is_seen = log_bayes_factor((new_n, units_n - new_n), (0.5, 0.5)) > log(1000)
    assert is_seen == (units_n > 1650)
    assert log_bayes_factor((units_n // 2, units_n // 2), (0.5, 0.5)) < 0


def test_an_arm_that_gets_nobody_is_seen():
    """After 920 units where it should get 1 %."""
    assert log_bayes_factor((0, 900), (0.01, 0.99)) < log(1000) < log_bayes_factor((0, 940), (0.01, 0.99))


def test_a_ramp_is_no_mismatch_and_each_step_has_its_own_factor():
    mismatch = Mismatch()
    for share in (50_000, 100_000, 500_000):
        for _ in range(20):
            new_n = share // 1000
            mismatch = met(mismatch, {"new": share, "old": 1_000_000 - share}, {"new": new_n, "old": 1000 - new_n})
    assert [factor.shares_ppm[0] for factor in mismatch.factors] == [50_000, 100_000, 500_000]
    assert mismatch.highest < 1
    expected = sum(log_bayes_factor(f.units_n, [s / 1e6 for s in f.shares_ppm]) for f in mismatch.factors)
    assert mismatch.log_e == pytest.approx(expected)


def test_an_alarm_stays():
    mismatch = met(Mismatch(), {"new": 500_000, "old": 500_000}, {"new": 900, "old": 100})
    later = met(mismatch, {"new": 500_000, "old": 500_000}, {"new": 100, "old": 900})
    assert later.log_e < 0 < log(1000) < later.highest


def test_an_arm_without_a_share_and_units_of_one_arm_alone_say_nothing():
    assert met(Mismatch(), {"new": 0, "old": 1_000_000}, {"new": 5, "old": 10}) == Mismatch()
    three = met(Mismatch(), {"a": 500_000, "b": 500_000, "c": 0}, {"a": 10, "b": 10, "c": 7})
    assert three.factors[0].units_n == (10, 10)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_mean_of_the_factor_is_one_where_shares_are_kept(share):
    """All splits of 30 units, enumerated."""
    from math import comb

    mean = sum(
        comb(30, k) * share**k * (1 - share) ** (30 - k) * exp(log_bayes_factor((k, 30 - k), (share, 1 - share)))
        for k in range(31)
    )
    assert mean == pytest.approx(1)


def test_a_million_units_are_finite():
    assert log_bayes_factor((10**6, 0), (1e-6, 1 - 1e-6)) < 1e8
