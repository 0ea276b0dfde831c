"""The metrics of several processes, added up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.merge import GAUGES, Family, Sample, lasting, merge, metrics_of, snapshot_of
from observability.metrics import Metrics
from observability.sinks.log import EventCounts


def recorded(request_event, **changes):
    """What a process tells that has recorded one request."""
    metrics = Metrics("0.1.0", clock=iter([0.0, 10.0]).__next__)
    meter = metrics.route("fraud", "canary", (("old", "1"), ("new", "2")))
    meter.set_provider("new", "cpu", degraded=True)
    metrics.watch_events(lambda: EventCounts(1, 2, {"queue_full": 3}, 4, ""))
    metrics.set_revision(7)
    meter.begin()
    meter.record(request_event(route="fraud", assigned_arm="new", answered_arm="old", **changes))
    return snapshot_of(metrics.collect())


def values(snapshot, name):
    return [sample.value for family in snapshot for sample in family.samples if sample.name == name]


def test_what_two_processes_counted_is_their_sum(request_event):
    """One process that had done the work of both would tell the same."""
    one = recorded(request_event, duration_ms=3.0)
    both = merge([one, recorded(request_event, duration_ms=300.0)])

    assert [1.0] == values(one, "turnout_requests_total")
    assert [2.0] == values(both, "turnout_requests_total")
    assert [2.0] == values(both, "turnout_request_duration_seconds_count")
    assert [pytest.approx(0.303)] == values(both, "turnout_request_duration_seconds_sum")
    assert [2.0] == values(both, "turnout_events_written_total")
    assert [4.0] == values(both, "turnout_events_waiting")


def test_what_is_no_count_is_not_added(request_event):
    both = merge([recorded(request_event), recorded(request_event)])

    assert ([7.0], [10.0], [1.0]) == (
        values(both, "turnout_revision"),
        values(both, "turnout_uptime_seconds"),
        values(both, "turnout_build_info"),
    )
    assert [1.0] == values(both, "turnout_arm_degraded")


def test_every_gauge_says_how_it_is_merged(request_event):
    """A new one without a rule would stop every scrape."""
    kinds = {family.name for family in recorded(request_event) if family.kind not in ("counter", "histogram")}

    assert kinds == set(GAUGES)


def test_what_a_process_leaves_behind_are_its_counts(request_event):
    """A process that has ended holds no request and no revision, but what it answered was answered."""
    left = lasting(recorded(request_event))

    assert [1.0] == values(left, "turnout_requests_total")
    assert [] == values(left, "turnout_revision") + values(left, "turnout_inflight_requests")


def test_a_snapshot_is_written_as_it_was_collected(request_event):
    told = recorded(request_event)

    assert told == snapshot_of(metrics_of(told))


COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000), max_size=4)


@given(st.lists(COUNTS, max_size=5))
def test_no_order_and_no_grouping_changes_a_sum(processes):
    snapshots = [
        [Family("n", "counter", "", [Sample("n_total", {"arm": arm}, float(n)) for arm, n in counts.items()])]
        for counts in processes
    ]
    expected = {arm: sum(counts.get(arm, 0) for counts in processes) for counts in processes for arm in counts}
    for merged in (
        merge(snapshots),
        merge(reversed(snapshots)),
        merge([merge(snapshots[:2]), merge(snapshots[2:])]),
    ):
        found = {sample.labels["arm"]: sample.value for family in merged for sample in family.samples}
        assert expected == found
