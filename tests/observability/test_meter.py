import pytest

from observability.event import Interleaving, RequestEvent
from observability.meter import BOUNDS_S, Histogram, RouteCells, RouteMeter

ARMS = (("fraud-7", "7"), ("fraud-8", "8"), ("fraud-9", "9"))


@pytest.fixture
def cells():
    return RouteCells()


@pytest.fixture
def meter(cells):
    return RouteMeter(cells, "canary", ARMS)


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.00025, 0), (0.00026, 1), (1.0, BOUNDS_S.index(1.0)), (99.0, len(BOUNDS_S))]
)
def test_a_bucket_includes_its_upper_bound(seconds, bucket):
    """`le` means less than or equal, as Prometheus has it."""
    histogram = Histogram()
    histogram.observe(seconds)
    assert (1, seconds) == (histogram.cells[bucket], histogram.cells[-1])


def test_every_request_begun_and_recorded_is_no_longer_in_flight(cells, meter, request_event):
    """In-flight goes up on arrival and down when the request is over, however it ends."""
    meter.begin()
    meter.begin()
    meter.record(request_event(status="timeout", answered_arm="", http_status=504, calls=()))
    assert 1 == cells.inflight_n


def test_a_failed_request_made_no_predictions(cells, meter, request_event):
    """Rows count only when they were answered."""
    meter.record(request_event(rows=32))
    meter.record(request_event(rows=32, status="error", http_status=500))
    assert 32 == cells.versions["fraud-8", "8"].rows_n


def test_each_call_that_failed_over_is_a_fallback_of_its_arm(cells, meter, request_event, call):
    """A chain of three calls is two fallbacks, each told of the arm that failed and why."""
    calls = (
        call(arm="fraud-8", status="failed", cause="timeout"),
        call(arm="fraud-9", status="failed", cause="error", role="fallback"),
        call(arm="fraud-7", role="fallback"),
    )
    meter.record(request_event(calls=calls, answered_arm="fraud-7", fallback_cause="timeout"))
    assert {"timeout": 1} == cells.arms["fraud-8"].fallbacks
    assert {"error": 1} == cells.arms["fraud-9"].fallbacks
    assert {} == cells.arms["fraud-7"].fallbacks


def test_a_failure_without_a_fallback_is_none(cells, meter, request_event, call):
    """When nobody stepped in, nothing is counted as if somebody had."""
    meter.record(request_event(calls=(call(status="failed", cause="error"),), status="error", http_status=500))
    assert {} == cells.arms["fraud-8"].fallbacks


@pytest.mark.parametrize("cause", ["not_ready", "overload"])
def test_a_call_that_never_reached_the_model_has_no_duration(cells, meter, request_event, call, cause):
    """A closed or full endpoint does not make a model look fast."""
    meter.record(request_event(calls=(call(status="failed", cause=cause, duration_ms=0.01),)))
    assert {} == cells.versions["fraud-8", "8"].calls


def test_a_timeout_has_a_duration(cells, meter, request_event, call):
    """A slow model is not flattered by leaving out its slowest calls."""
    meter.record(request_event(calls=(call(status="failed", cause="timeout", duration_ms=800.0),)))
    assert 0.8 == pytest.approx(cells.versions["fraud-8", "8"].calls["serve"].cells[-1])


def test_a_shadow_that_ran_is_timed_under_its_role(cells, meter, shadow_event):
    """Shadows have their own outcome and their own latency."""
    meter.record_shadow(shadow_event(outcome="mismatch"))
    assert {"mismatch": 1} == cells.arms["fraud-9"].shadows
    assert ["shadow"] == list(cells.versions["fraud-9", "9"].calls)


def test_a_shadow_that_was_dropped_counts_by_its_reason(cells, meter, shadow_event):
    """A shadow that never ran is no outcome, but it is not silent."""
    meter.drop_shadow("fraud-9", "queue")
    assert ({}, {"queue": 1}) == (cells.arms["fraud-9"].shadows, cells.arms["fraud-9"].shadow_drops)


def test_nobodys_evidence_is_counted_under_none(cells, meter, request_event):
    """Requests outside the audience or forced by hand can be told apart by their reason."""
    meter.record(request_event(assigned_arm="", reason="override"))
    assert {"override": 1} == cells.arms["none"].assignments


def test_a_name_the_table_did_not_give_adds_no_series(cells, meter, request_event, call, shadow_event):
    """A mistake elsewhere cannot make the number of series grow."""
    before = (set(cells.arms), set(cells.versions))
    calls = (call(arm="id-1", status="failed", cause="error"), call(arm="id-2", role="fallback"))
    meter.record(request_event(assigned_arm="id-3", answered_arm="id-4", calls=calls))
    meter.record_shadow(shadow_event(arm="id-5"))
    assert before == (set(cells.arms), set(cells.versions))


def test_counters_go_on_when_the_next_table_takes_over(cells, meter, request_event):
    """Publishing a revision resets nothing, and late requests of the old one still count."""
    meter.begin()
    successor = RouteMeter(cells, "canary", ARMS)
    successor.begin()
    meter.record(request_event())
    successor.record(request_event())
    meter.forget()
    assert (0, 2) == (cells.inflight_n, cells.versions["fraud-8", "8"].rows_n)


def test_what_only_the_old_table_had_disappears_with_it(cells, meter):
    """A model that was retired leaves no series behind; its successor under the same name keeps the arm's."""
    RouteMeter(cells, "ab", (("fraud-7", "7"), ("fraud-8", "8.1")))
    meter.forget()
    assert {("none", ""), ("fraud-7", "7"), ("fraud-8", "8.1")} == set(cells.versions)
    assert {"none", "fraud-7", "fraud-8"} == set(cells.arms)


def test_merged_answers_are_counted_by_what_came_of_them():
    """How often a partner was too late is one number."""
    cells = RouteCells()
    meter = RouteMeter(cells, "interleave", [("old", "1")])
    merged = Interleaving("team_draft", "r/0", ("old", "new"), ())
    for event in (
        RequestEvent(0.0, "a", "a", interleaving=merged),
        RequestEvent(0.0, "b", "b", not_interleaved="timeout"),
        RequestEvent(0.0, "c", "c"),
    ):
        meter.record(event)

    assert cells.interleaved == {"merged": 1, "timeout": 1}
