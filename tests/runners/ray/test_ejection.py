"""Which replicas rest, from what was seen of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.ray.ejection import FAILED_IN_ROW_N, REST_MOST_S, SEEN_N, Pulse, to_rest


def pulse(took_s, *, calls_n=SEEN_N, failed_n=0):
    seen = Pulse()
    for _ in range(calls_n):
        seen.see(took_s, failed=False)
    for _ in range(failed_n):
        seen.see(took_s, failed=True)
    return seen


def test_one_that_is_much_slower_rests():
    """Whatever it says of itself."""
    slow = pulse(0.5)
    assert [slow] == to_rest([pulse(0.01), slow, pulse(0.02)], now=0)


@pytest.mark.parametrize(
    ("mine", "others"), [(0.03, 0.01), (0.005, 0.0001), (0.01, 0.01)], ids=["thrice", "a few ms", "alike"]
)
def test_a_little_slower_is_no_reason(mine, others):
    """Where the difference harms nobody, more room does."""
    assert [] == to_rest([pulse(mine), pulse(others)], now=0)


def test_a_few_calls_say_nothing():
    """The first call of a process is slow in all of them."""
    assert [] == to_rest([pulse(5.0, calls_n=SEEN_N - 1), pulse(0.01)], now=0)
    assert [] == to_rest([pulse(5.0), pulse(0.01, calls_n=SEEN_N - 1)], now=0)


def test_one_that_fails_where_others_answer_rests():
    """A timeout is a failure too."""
    failing = pulse(0.01, failed_n=FAILED_IN_ROW_N)
    assert [failing] == to_rest([failing, pulse(0.01)], now=0)


def test_a_model_that_fails_everywhere_rests_nowhere():
    """It is the model, not the replica."""
    assert [] == to_rest([pulse(0.01, failed_n=FAILED_IN_ROW_N) for _ in range(3)], now=0)


@given(st.lists(st.tuples(st.floats(0.001, 9), st.integers(0, 30)), min_size=1, max_size=9))
def test_half_at_most_rest_and_never_the_last(seen):
    """Somebody always answers."""
    pulses = [pulse(took_s, failed_n=failed_n) for took_s, failed_n in seen]
    for now in range(5):
        for worse in to_rest(pulses, float(now)):
            worse.rest(float(now))
    assert sum(each.rests_until > 4 for each in pulses) <= len(pulses) // 2


def test_who_rests_is_asked_again_and_judged_anew():
    """Trouble passes."""
    slow, fast = pulse(0.5), pulse(0.01)
    slow.rest(0.0)
    assert [] == to_rest([slow, fast], now=slow.rests_until)


def test_rests_grow_but_not_for_ever():
    """One that stays bad is looked at less often."""
    each = pulse(0.5)
    lengths = []
    for _ in range(8):
        each.rest(0.0)
        lengths.append(each.rests_until)
    assert sorted(lengths) == lengths
    assert (5.0, 10.0, REST_MOST_S) == (lengths[0], lengths[1], lengths[-1])
