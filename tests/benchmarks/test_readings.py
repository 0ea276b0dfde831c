"""What a server says of itself."""

import os
import signal
import urllib.request

from prometheus_client import generate_latest

from benchmarks.readings import Reading, read_cpu_s, read_memory_mib, read_own_memory_mib, sum_counters
from benchmarks.sink import TraceSink
from observability.event import Call, RequestEvent, ShadowEvent
from observability.metrics import Metrics
from observability.sinks.log import EventCounts
from observability.span_counts import SpanCounts


def test_the_gateways_metrics_are_summed_up():
    """Refusals, shadows and losses are found under the names the gateway really uses; who had gone was not refused."""
    metrics = Metrics("test")
    meter = metrics.route("tiny", "ab", [("old", "1"), ("new", "2")])
    for status, http_status in (("ok", 200), ("overload", 429), ("cancelled", 499)):
        meter.begin()
        meter.record(RequestEvent(0.0, "e", "r", status=status, protocol="http", http_status=http_status))
    served, stepped_in = (
        Call("old", "1", "", "cpu", role, "failed", "not_ready", 0.0, 1.0) for role in ("serve", "fallback")
    )
    meter.begin()
    meter.record(RequestEvent(0.0, "e", "r", status="ok", protocol="http", http_status=200, calls=(served, stepped_in)))
    metrics.refuse("grpc", "not_found")
    for _ in range(3):
        meter.begin_shadow("new")
    call = Call("new", "2", "", "cpu", "shadow", "ok", "", 0.0, 1.0)
    meter.record_shadow(shadow("match", "", call))
    meter.drop_shadow("new", "queue")
    metrics.watch_events(lambda: EventCounts(5, 0, {"queue_full": 3}, 0, ""))
    metrics.watch_spans(lambda: SpanCounts(7, 0, {"export_failed": 4}))
    expected = {
        "refused_n": 2,
        "fallbacks_n": 1,
        "shadows_made_n": 1,
        "shadows_dropped_n": 1,
        "shadows_pending_n": 1,
        "events_dropped_n": 3,
        "spans_exported_n": 7,
        "spans_dropped_n": 4,
    }
    assert expected == sum_counters(generate_latest(metrics.registry).decode())


def test_a_cell_is_the_difference_of_two_readings():
    """What happened before a cell is not its."""
    before, after = Reading(cpu_s=1.0, refused_n=2), Reading(cpu_s=3.5, refused_n=2, spans_exported_n=4)
    assert Reading(cpu_s=2.5, refused_n=0, spans_exported_n=4) == after.since(before)


def test_processor_time_and_memory_of_a_process_are_read():
    """Both are taken from the kernel, in seconds and MiB."""
    times = os.times()
    assert abs(read_cpu_s(os.getpid()) - times.user - times.system) < 1.0
    assert 10 < read_memory_mib(os.getpid()) < 10_000


def test_what_processes_share_counts_once():
    """A child that has touched nothing of its own adds next to nothing to what its parent holds."""
    ballast = b"x" * (64 << 20)
    before = read_memory_mib(os.getpid())
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        resident, own = read_own_memory_mib(child)
        assert resident > 64
        assert own < resident - 30  # half of what is the parent's too
        assert read_memory_mib(os.getpid()) < before + 30
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert len(ballast) == 64 << 20


def test_the_trace_sink_takes_everything():
    """The gateway exports spans as it would in earnest, and we notice if it does not."""
    with TraceSink() as sink:
        with urllib.request.urlopen(f"{sink.endpoint}/v1/traces", data=b"spans", timeout=5) as response:
            assert 200 == response.status
        assert 5 == sink.received_bytes


def shadow(outcome, dropped, call):
    return ShadowEvent(0.0, "e", "r", "", "", "", "tiny", 1, "", "old", "new", outcome, dropped, -1.0, call, 1)
