"""Two arms side by side, in numbers that hold whenever one looks."""

import random
from math import inf, log

import pytest

from strategies.evidence.contrast import RATIOS, Contrasted, contrasted, contrasts, log_e, ratio_interval
from strategies.evidence.epochs import ERROR_RATE, RUN_ERRORS, ArmCounts, Epoch, Moments
from strategies.evidence.share_test import gained, log_mean

NEW_SHARE = {"new": 500_000, "old": 500_000}


def arm(requests_n: int, errors_n: int = 0, score: Moments | None = None, runs: tuple[int, int] = (0, 0)) -> ArmCounts:
    events = {ERROR_RATE: errors_n} | ({RUN_ERRORS: runs[1]} if runs[1] else {})
    return ArmCounts(requests_n, requests_n, runs[0], events=events, values={"score": score} if score else {})


def epoch(new: ArmCounts, old: ArmCounts, shares=None, **more: object) -> Epoch:
    return Epoch(1, 0, shares or NEW_SHARE, {"new": new, "old": old}, **more)


def read(*epochs: Epoch, alpha: float = 0.05):
    found = Contrasted("new", "old")
    for each in epochs:
        found = contrasted(found, each)
    return {contrast.metric: contrast for contrast in contrasts(found, alpha)}


def test_a_rate_has_a_difference_and_a_ratio():
    found = read(epoch(arm(10_000, 300), arm(10_000, 100)))[ERROR_RATE]

    assert (found.candidate, found.baseline) == (0.03, 0.01)
    assert found.difference.estimate == pytest.approx(0.02)
    assert found.ratio.estimate == pytest.approx(3.0, rel=1e-6)
    assert 1 < found.ratio.low < 3 < found.ratio.high < 6
    assert found.differs


def test_rates_that_are_alike_do_not_differ():
    assert not read(epoch(arm(10_000, 103), arm(10_000, 100)))[ERROR_RATE].differs


def test_of_few_events_no_difference_is_told_and_a_ratio_is_wide():
    found = read(epoch(arm(1_000, 4), arm(1_000, 4)))[ERROR_RATE]
    assert found.difference is None
    assert found.ratio.low < 0.3 < 3 < found.ratio.high


@pytest.mark.parametrize(("won", "lost", "ends"), [(8, 0, (None, inf)), (0, 8, (0.0, None)), (0, 0, (0.0, inf))])
def test_an_end_that_nothing_refutes_is_open(won, lost, ends):
    found = ratio_interval([(0.5, won, lost)], 0.05)
    for end, expected in zip((found.low, found.high), ends, strict=True):
        assert expected is None or end == expected
    assert found.low <= found.estimate <= found.high


def test_the_interval_is_what_the_two_sided_test_does_not_refute():
    splits = [(0.1, 30, 150), (0.5, 40, 20)]
    found = ratio_interval(splits, 0.05)

    for end in (found.low, found.high):
        assert log_e(splits, end) == pytest.approx(log(20), abs=1e-3)
    assert log_e(splits, found.estimate) < log_e(splits, found.low)


def test_the_test_is_the_share_test_with_alternatives_on_both_sides():
    expected = log_mean(gained((7, 3), 0.25, [2 * each for each in RATIOS], 2.0))
    assert log_e([(0.25, 7, 3)], 2.0) == pytest.approx(expected)


def test_a_base_rate_that_drifts_during_a_ramp_makes_no_ratio():
    """Pooled rates would say that the candidate is worse: most of its requests come when everything is bad."""
    early = epoch(arm(1_000, 10), arm(9_000, 90), {"new": 100_000, "old": 900_000})
    late = epoch(arm(5_000, 250), arm(5_000, 250))
    found = read(early, late)[ERROR_RATE]

    assert found.ratio.estimate == pytest.approx(1.0, rel=1e-6)
    assert found.ratio.low < 1 < found.ratio.high


def test_a_ratio_is_right_at_all_times_as_often_as_promised():
    """Two hundred experiments with a true ratio of 2, looked at after every tenth event, at 90 %."""
    missed = 0
    for seed in range(200):
        chance, counts, is_missed = random.Random(seed), [0, 0], False
        for number in range(200):
            counts[chance.random() >= 2 / 3] += 1
            if number % 10 == 9:
                is_missed = is_missed or log_e([(0.5, *counts)], 2.0) >= log(10)
        missed += is_missed
    assert missed <= 200 * 0.1 + 3 * (200 * 0.1 * 0.9) ** 0.5


def test_means_are_compared_once_there_are_enough_values():
    few, many = Moments(50, 100.0, 250.0), Moments(5_000, 10_000.0, 25_000.0)
    more = Moments(5_000, 11_000.0, 29_200.0)

    assert read(epoch(arm(50, score=few), arm(50, score=few)))["score"].difference is None
    found = read(epoch(arm(5_000, score=more), arm(5_000, score=many)))["score"]
    assert (found.candidate, found.baseline) == (2.2, 2.0)
    assert found.difference.estimate == pytest.approx(0.2)
    assert found.ratio.estimate == pytest.approx(1.1)
    assert (found.differs, found.ratio.low > 1.05) == (True, True)


def test_other_shares_begin_the_differences_anew_and_keep_the_ratio():
    before = epoch(arm(5_000, 50, Moments(5_000, 5e3, 5e3)), arm(5_000, 50, Moments(5_000, 5e3, 5e3)))
    after = epoch(arm(300, 3, Moments(300, 3e2, 3e2)), arm(700, 7, Moments(700, 7e2, 7e2)), {"new": 300, "old": 700})
    found = read(before, after)

    assert (found[ERROR_RATE].candidate_n, found["score"].candidate_n) == (300, 300)
    assert found[ERROR_RATE].ratio.high < 2  # it knows of 110 events


def test_runs_are_counted_among_runs_and_what_was_lost_is_no_evidence():
    found = read(
        epoch(arm(100, runs=(50, 10)), arm(100, runs=(40, 8))),
        epoch(arm(100, 90), arm(100, 0), lost=("gate: requests could not be counted",)),
    )
    assert (found[RUN_ERRORS].candidate, found[RUN_ERRORS].baseline) == (0.2, 0.2)
    assert (found[RUN_ERRORS].ratio, ERROR_RATE in found and found[ERROR_RATE].candidate) == (None, 0.0)
