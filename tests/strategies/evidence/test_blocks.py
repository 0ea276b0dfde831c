"""The block form: bursts are seen, and an epoch counts as one observation."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evidence.blocks import Blocks, Count, is_bursty, log_e_harm, log_e_safe, with_epoch

CALM = (1, 0, 2, 1, 1, 0, 3, 1, 0, 1)


def blocks_of(pairs, of_n=100):
    found = Blocks()
    for candidate_n, baseline_n in pairs:
        found = with_epoch(found, Count(candidate_n, of_n), Count(baseline_n, of_n))
    return found


def calm(n):
    return [(CALM[at % 10], CALM[(at + 3) % 10]) for at in range(n)]


def test_independent_events_are_not_bursty_and_bursts_are():
    assert not is_bursty(blocks_of(calm(60)))
    bursts = [(30, 1) if at % 20 == 7 else pair for at, pair in enumerate(calm(60))]
    assert is_bursty(blocks_of(bursts))
    assert is_bursty(blocks_of([(b, c) for c, b in bursts]))


@pytest.mark.parametrize("first", [100, 40])
def test_an_arm_that_breaks_once_is_not_bursty_even_amid_a_block(first):
    broken = [*calm(60), (first, 1), *[(100, 1)] * 10]
    assert not is_bursty(blocks_of(broken))
    assert is_bursty(blocks_of([*broken, (1, 1)]))


def test_a_regression_is_seen_and_equal_arms_are_not():
    assert log_e_harm(blocks_of(calm(200)), 1.0, 0.01) < 0
    worse = [(candidate_n + 3, baseline_n) for candidate_n, baseline_n in calm(60)]
    assert log_e_harm(blocks_of(worse), 1.0, 0.01) > log(100)
    assert log_e_harm(blocks_of(worse), 10.0, 0.01) < 0


def test_equal_arms_are_proven_safe_in_the_end_and_worse_ones_are_not():
    assert log_e_safe(blocks_of(calm(400)), 2.0, 0.05) > log(20)
    worse = [(2 * candidate_n, baseline_n) for candidate_n, baseline_n in calm(400)]
    assert log_e_safe(blocks_of(worse), 2.0, 0.05) < log(20)


def test_nothing_is_said_of_fewer_than_thirty_blocks_or_of_one_bad_one():
    assert log_e_harm(blocks_of([(90, 1)] * 29), 1.0, 0.01) == 0
    assert log_e_harm(blocks_of([(90, 1)] * 30), 1.0, 0.01) > log(100)
    assert log_e_harm(blocks_of([(90, 0), *[(0, 0)] * 60]), 1.0, 0.01) == 0


def test_a_candidate_that_fails_beside_a_flawless_baseline_is_seen():
    assert log_e_harm(blocks_of([(90, 0)] * 30), 1.0, 0.01) > log(100)


def test_a_block_waits_until_each_arm_has_ten_requests():
    found = Blocks()
    for _ in range(3):
        found = with_epoch(found, Count(1, 4), Count(2, 100))
    assert (found.n, found.candidate, found.baseline) == (1, 3 / 12, 6 / 300)
    assert found.open_candidate == Count()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=50))
def test_it_is_finite_whatever_comes(pairs):
    found = blocks_of(pairs, of_n=10**6)
    for ratio in (1.0, 1.5):
        assert abs(log_e_harm(found, ratio, 0.01)) <= 700
        assert abs(log_e_safe(found, ratio, 0.05)) <= 700
