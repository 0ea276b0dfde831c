"""A test that begins again is still a test, and sees what begins late."""

from itertools import product
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.evidence import restarts
from strategies.evidence.restarts import AT_ONCE, EVENTS_BETWEEN, extended, log_e, opened
from strategies.evidence.share_test import HARM_RATIOS, gained, log_mean, log_sum, plus


def followed(test, candidate_n, baseline_n, rho=0.5):
    gain = gained((candidate_n, baseline_n), rho, HARM_RATIOS, 1.0)
    return extended(test, gain, candidate_n + baseline_n)


def begun():
    return opened(len(HARM_RATIOS))


def test_before_anything_happened_there_is_no_evidence():
    assert log_e(begun()) == pytest.approx(0, abs=1e-12)


def test_a_restart_is_due_at_the_end_of_an_epoch_after_fifty_more_events():
    test = followed(followed(begun(), 20, 29), 0, 0)
    assert test.restarts_n == 0
    test = followed(test, 200, 200)
    assert (test.restarts_n, test.passed_n) == (1, 0)
    assert test.held == pytest.approx([-log(2) - each for each in test.total])


def test_nothing_changes_at_the_moment_of_a_restart():
    """What a new part holds was set aside before, so E does not move."""
    before = followed(begun(), 24, 25)
    gain = gained((1, 0), 0.5, HARM_RATIOS, 1.0)
    restarted = extended(before, gain, 1)
    assert restarted.restarts_n == 1
    assert log_e(restarted) == pytest.approx(log_e(extended(before, gain, 0)), abs=1e-12)


@pytest.mark.parametrize("rho", [0.5, 0.1, 0.02])
def test_the_mean_of_e_is_one_where_the_arms_are_equal(rho, monkeypatch):
    """All ways of ten events, in epochs of two, with a restart every three events."""
    monkeypatch.setattr(restarts, "EVENTS_BETWEEN", 3)
    assert mean_of_e(rho) == pytest.approx(1, abs=1e-9)


def mean_of_e(rho):
    mean = 0.0
    for outcomes in product((0, 1), repeat=10):
        test = begun()
        for at in range(0, 10, 2):
            candidate_n = sum(outcomes[at : at + 2])
            test = followed(test, candidate_n, 2 - candidate_n, rho)
        mean += rho ** sum(outcomes) * (1 - rho) ** (10 - sum(outcomes)) * exp(log_e(test))
    return mean


def test_what_begins_after_a_long_good_past_is_seen_almost_as_soon():
    plain = gained((0, 0), 0.5, HARM_RATIOS, 1.0)
    test = begun()
    for _ in range(1000):
        plain = tuple(a + b for a, b in zip(plain, gained((5, 5), 0.5, HARM_RATIOS, 1.0), strict=True))
        test = followed(test, 5, 5)
    epochs_n = epochs_until_seen(test)
    assert epochs_n <= epochs_until_seen(begun()) + 8
    after = [a + epochs_n * b for a, b in zip(plain, gained((8, 2), 0.5, HARM_RATIOS, 1.0), strict=True)]
    assert max(after) < 0


def epochs_until_seen(test):
    epochs_n = 0
    while log_e(test) < log(100):
        test, epochs_n = followed(test, 8, 2), epochs_n + 1
    return epochs_n


def test_work_and_memory_are_bounded():
    test = begun()
    for _ in range(500):
        test = followed(test, 30, 30)
    assert (len(test.held), test.restarts_n) == (len(HARM_RATIOS), 500)


def one_by_one(gains):
    """The formula as it is written, with every restart remembered and looked at by itself."""
    total, passed_n, began = (0.0,) * len(HARM_RATIOS), 0, []
    for gain, events_n in gains:
        total, passed_n = plus(total, gain), passed_n + events_n
        if passed_n >= EVENTS_BETWEEN:
            began.append(total)
            passed_n = 0
    held = [
        log_mean([now - then for now, then in zip(total, each, strict=True)]) - log(number * (number + 1))
        for number, each in enumerate(began, start=1)
    ]
    waiting = -log(len(began) + 1)
    return log_sum([log(AT_ONCE) + log_mean(total), log(1 - AT_ONCE) + log_sum([waiting, *held])])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400)), max_size=300),
    st.sampled_from([0.5, 0.1, 0.01]),
    st.integers(0, 60),
)
def test_one_sum_is_what_all_restarts_come_to_one_by_one(epochs, rho, late_n):
    """Also where good and bad times follow each other, and however many restarts there were."""
    gains = [(gained(each, rho, HARM_RATIOS, 1.0), sum(each)) for each in [*epochs, *[(40, 20)] * late_n]]
    test = begun()
    for gain, events_n in gains:
        test = extended(test, gain, events_n)
    assert log_e(test) == pytest.approx(one_by_one(gains), rel=1e-9, abs=1e-9)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=60), st.floats(1e-6, 1 - 1e-6))
def test_it_stays_finite_whatever_comes(epochs, rho):
    test = begun()
    for candidate_n, baseline_n in epochs:
        test = followed(test, candidate_n, baseline_n, rho)
    assert abs(log_e(test)) < 1e10
