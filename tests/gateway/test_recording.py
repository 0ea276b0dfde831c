"""What is written down about a request, once."""

from fractions import Fraction

import pytest
from msgspec.structs import replace

from gateway import recording
from gateway.arrival import Reply
from gateway.execution.executor import execute
from gateway.execution.outcome import Impression
from gateway.execution.shadows import ShadowBounds, ShadowPool
from gateway.recording import Recorder
from observability.event import RequestEvent
from observability.metrics import Metrics
from observability.tracing import Tracing
from runners.core.errors import ExecutionFailed


class Kept(list):
    """An event log that keeps events."""

    def offer(self, event) -> None:
        self.append(event)


@pytest.fixture
def log() -> Kept:
    return Kept()


@pytest.fixture
def recorder(log) -> Recorder:
    return Recorder(log=log, metrics=Metrics("0"), tracing=Tracing())


async def test_a_fallback_is_recorded_with_its_cause_and_every_call(
    recorder, log, bind, endpoints, route_request, arrive
):
    """Evidence counts for the arm assigned, not the arm that stepped in."""
    endpoints["new"].script = ExecutionFailed("x")
    routed = route_request(bind(attributes={"region": {"header": "x-region"}}), x_turnout_unit="u", x_region="nz")
    recorder.record(arrive(), routed, await execute(routed), Reply("ok", 10, 20, http_status=200))
    (event,) = log

    assert isinstance(event, RequestEvent)
    assert (event.assigned_arm, event.answered_arm, event.fallback_cause) == ("new", "old", "error")
    assert [(call.arm, call.role, call.status, call.cause) for call in event.calls] == [
        ("new", "serve", "failed", "error"),
        ("old", "fallback", "ok", ""),
    ]
    assert (event.unit_hash, event.unit_kind, event.attributes) == ("u", "x-turnout-unit", {"region": "nz"})
    assert (event.request_bytes, event.response_bytes, event.rows) == (10, 20, 1)


async def test_a_caller_who_left_is_recorded_with_the_route(recorder, log, bind, route_request, arrive):
    route = bind()
    recorder.record(arrive(), route_request(route), None, Reply("cancelled"))

    assert (log[0].route, log[0].status, log[0].calls) == ("digits", "cancelled", ())
    assert route.meter.events == log


def test_a_request_refused_at_the_door_is_recorded_without_a_route(recorder, log, arrive):
    recorder.record(arrive(x_request_id="r-1"), None, None, Reply("malformed", 5, http_status=400, error="no JSON"))

    assert (log[0].request_id, log[0].route, log[0].status, log[0].error) == ("r-1", "", "malformed", "no JSON")


def test_what_ends_in_one_turn_is_written_once_its_answers_are_sent(log, arrive, monkeypatch):
    """Nobody's answer waits for what is written about somebody else's, and a request took as long as it took."""
    soon, arrival = [], arrive()
    recorder = Recorder(log=log, metrics=Metrics("0"), tracing=Tracing(), soon=soon.append)
    monkeypatch.setattr(recording, "monotonic", lambda: arrival.started_at + 0.25)
    for _ in range(2):
        recorder.record(arrival, None, None, Reply("malformed"))
    assert (1, []) == (len(soon), log)

    monkeypatch.setattr(recording, "monotonic", lambda: arrival.started_at + 9)
    soon.pop()()
    assert [250, 250] == [round(event.duration_ms) for event in log]


def test_a_worker_that_ends_writes_what_waits(log, arrive):
    """And only once, if the turn comes to its end after all."""
    soon = []
    recorder = Recorder(log=log, metrics=Metrics("0"), tracing=Tracing(), soon=soon.append)
    recorder.record(arrive(), None, None, Reply("malformed"))
    for write in (recorder.flush, soon.pop()):
        write()
    assert 1 == len(log)


def test_a_recorder_that_fails_is_a_counter(recorder, arrive, caplog):
    """An answer is never lost because it could not be written down."""
    recorder._log = None
    recorder.record(arrive(), None, None, Reply("malformed"))

    assert recorder.failed_n == 1  # turnout_records_failed_total
    assert "could not be recorded" in caplog.text


@pytest.mark.parametrize(
    ("shares", "teams"),
    [
        (((), (Fraction(1), Fraction(0))), ("", "old")),
        (((Fraction(8, 9), Fraction(1, 9)), (Fraction(0), Fraction(1))), ("old=8/9 new=1/9", "new")),
    ],
)
async def test_a_merged_list_is_recorded_with_all_it_was_made_of(
    recorder, log, bind, route_request, arrive, shares, teams
):
    routed = route_request(bind(strategy={"kind": "interleave", "partners": ["new"], "ids": "y"}))
    outcome = replace(
        await execute(routed),
        impressions=(Impression(0, ("a", "b"), ("old", "new"), shares, (("a", "b"), ("a", "c"))),),
    )
    recorder.record(arrive(), routed, outcome, Reply("ok", http_status=200))

    found = log[0].interleaving
    assert (found.method, found.salt, found.rankers) == ("team_draft", "digits/0", ("old", "new"))
    assert [(row.lists, row.items, row.teams) for row in found.rows] == [((("a", "b"), ("a", "c")), ("a", "b"), teams)]


async def test_why_a_list_was_not_merged_is_recorded(recorder, log, bind, route_request, arrive):
    routed = route_request(bind())
    outcome = replace(await execute(routed), not_interleaved="timeout")
    recorder.record(arrive(), routed, outcome, Reply("ok", http_status=200))

    assert (log[0].interleaving, log[0].not_interleaved) == (None, "timeout")


async def test_shadow_calls_that_are_dropped_are_counted_at_once_and_told_together(
    recorder, log, bind, route_request, arrive
):
    """A busy gateway drops thousands a second; an event for each would cost its clients more than the shadows do."""
    route = bind(shadow=[{"candidate": "new", "share": "100%"}], strategy={"kind": "baseline"})
    pool = ShadowPool(recorder.record_shadow, ShadowBounds(calls=0, queue=0))
    for _ in range(3):
        routed = route_request(route)
        pool.offer(routed, await execute(routed), arrive())
    assert (route.meter.dropped, log) == ([("new", "queue")] * 3, [])

    recorder.close()
    (event,) = log
    assert (event.arm, event.outcome, event.dropped, event.count) == ("new", "dropped", "queue", 3)
