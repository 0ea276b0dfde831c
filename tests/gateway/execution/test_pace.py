"""Shadow calls make room for requests before anybody waits."""

import pytest

from gateway.execution.pace import CALM_PER_S, Pace


@pytest.mark.parametrize(("requests_s", "starts_s"), [(0, 500), (1, 500), (CALM_PER_S, 250), (4 * CALM_PER_S, 100)])
def test_the_more_requests_come_the_fewer_shadow_calls_start(requests_s, starts_s):
    """Where they hardly come every one of them can be compared, and nobody sets anything."""
    pace = Pace(500.0, 0.0)
    now, starts_n = 0.0, 0
    while now < 10.0:
        now += pace.rest_s(now, round(now * requests_s))
        starts_n += 1
    assert starts_n / 10 == pytest.approx(starts_s, rel=0.03)


def test_a_crowd_that_has_left_is_forgotten_with_the_next_start():
    """What came since the latest start counts, and no more than a whole interval's worth of it weighs."""
    pace = Pace(500.0, 0.0)
    assert pace.rest_s(1.0, 10_000) == pytest.approx(11 / 500)
    assert pace.rest_s(2.0, 10_000) == pytest.approx(1 / 500)


def test_starts_that_come_at_once_are_not_taken_for_a_crowd():
    """A clock that has not moved divides nothing."""
    assert Pace(500.0, 1.0).rest_s(1.0, 1) == pytest.approx(1.5 / 500)
