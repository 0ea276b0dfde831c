"""How many replicas there should be."""

from types import SimpleNamespace

import pytest

from runners.ray.scaling import replicas_for


def context(said, *, target=8.0, lowest=1, highest=3, now=1):
    config = SimpleNamespace(get_target_ongoing_requests=lambda: target)
    return SimpleNamespace(
        aggregated_metrics={"hop_open": said} if said is not None else {},
        config=config,
        capacity_adjusted_min_replicas=lowest,
        capacity_adjusted_max_replicas=highest,
        target_num_replicas=now,
        policy_state=None,
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [({"a": 0}, 1), ({"a": 8}, 1), ({"a": 9}, 2), ({"a": 9, "b": 8}, 3), ({"a": 900}, 3)],
)
def test_there_is_one_replica_for_every_target_calls_under_way(said, expected):
    assert (expected, {}) == replicas_for(context(said))


def test_when_nobody_says_anything_all_stays_as_it_is():
    """Replicas that cannot be asked may be those with the most to do."""
    assert replicas_for(context(None, now=2)) == (2, {})


def test_none_are_kept_where_none_may_be():
    assert replicas_for(context({"a": 0}, lowest=0)) == (0, {})
