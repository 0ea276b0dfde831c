import subprocess
import sys

import pytest

from observability.sampling import IDS, Sampler
from observability.tracing import NO_SPANS, Tracing, open_tracing, read_exporters

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ALL, NONE = Sampler(IDS, parent_based=True), Sampler(0, parent_based=True)


class FakeSpans:
    def __init__(self):
        self.written = []

    def write_request(self, trace, event):
        self.written.append(("request", trace, event))

    def write_shadow(self, trace, event):
        self.written.append(("shadow", trace, event))

    def counts(self):
        return NO_SPANS

    def close(self, timeout_s):
        return True


def traceparent(flags):
    return f"00-{TRACE}-{SPAN}-{flags}".encode()


@pytest.fixture
def spans():
    return FakeSpans()


def test_a_request_that_is_not_sampled_has_no_trace(spans):
    """Nothing is made for it at all."""
    assert Tracing(NONE, spans).begin(None, None) is None


def test_a_sampled_request_gets_ids_of_its_own(spans):
    """A trace that begins here has a new trace id, and its traceparent says that it is sampled."""
    first, second = (Tracing(ALL, spans).begin(None, None) for _ in range(2))
    assert (True, "", 32, 16) == (first.sampled, first.parent_id, len(first.trace_id), len(first.span_id))
    assert f"00-{first.trace_id}-{first.span_id}-01" == first.traceparent()
    assert first.trace_id != second.trace_id


def test_about_the_asked_share_is_sampled(spans):
    """One in a hundred means one in a hundred."""
    tracing = Tracing(Sampler(round(0.01 * IDS), parent_based=True), spans)
    sampled_n = sum(tracing.begin(None, None) is not None for _ in range(100_000))
    assert 800 < sampled_n < 1200  # six standard deviations


def test_a_traced_request_of_a_traced_caller_joins_its_trace(spans):
    """Same trace id, a new span id, and the caller's span as its parent."""
    trace = Tracing(NONE, spans).begin(traceparent("01"), b"a=1")
    assert (TRACE, SPAN, True, "a=1") == (trace.trace_id, trace.parent_id, trace.sampled, trace.tracestate)
    assert SPAN != trace.span_id
    assert f"00-{TRACE}-{trace.span_id}-01" == trace.traceparent()


def test_an_untraced_callers_ids_are_carried_but_nothing_is_exported(spans, request_event):
    """The event names the trace although no span is made."""
    tracing = Tracing(ALL, spans)
    trace = tracing.begin(traceparent("00"), None)
    tracing.finish(trace, request_event())
    assert (TRACE, False, []) == (trace.trace_id, trace.sampled, spans.written)
    assert trace.traceparent().endswith("-00")


def test_a_sampler_that_ignores_callers_decides_alone(spans):
    """At an untrusted edge a client cannot force traces."""
    tracing = Tracing(Sampler(0, parent_based=False), spans)
    assert not tracing.begin(traceparent("01"), None).sampled


def test_the_random_flag_is_passed_on_and_unknown_flags_are_not(spans):
    """What level 2 of the standard asks to keep is kept, what nobody knows is cleared."""
    assert Tracing(NONE, spans).begin(traceparent("ff"), None).traceparent().endswith("-03")


def test_garbage_is_ignored_and_never_sent_on(spans):
    """A header that is no trace context leaves no mark."""
    trace = Tracing(ALL, spans).begin(b"<script>", b"<script>")
    assert ("", "") == (trace.parent_id, trace.tracestate)
    assert Tracing(NONE, spans).begin(b"<script>", None) is None


def test_without_an_exporter_a_callers_context_is_passed_on_as_it_came():
    """Tracing that is off breaks nobody's trace."""
    tracing = Tracing(ALL)
    assert traceparent("01").decode() == tracing.begin(traceparent("01"), None).traceparent()
    assert tracing.begin(None, None) is None


def test_sampled_requests_and_shadows_are_exported(spans, request_event, shadow_event):
    """What was sampled is handed over with its event when it is done."""
    tracing = Tracing(ALL, spans)
    trace, request, shadow = tracing.begin(None, None), request_event(), shadow_event()
    tracing.finish(trace, request)
    tracing.finish_shadow(trace, shadow)
    assert [("request", trace, request), ("shadow", trace, shadow)] == spans.written


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "  "}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "console"}, ("console",)),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ("otlp", "console")),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ()),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"}, ()),
        ({"OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",)),
    ],
)
def test_the_standard_variables_switch_tracing(environ, expected):
    """An endpoint or an exporter switches tracing on; `none` and OTEL_SDK_DISABLED switch it off."""
    assert expected == read_exporters(environ)


def test_an_unknown_exporter_is_said_and_left_out(caplog):
    """A name that cannot be served is told, and the gateway starts all the same."""
    assert ("otlp",) == read_exporters({"OTEL_TRACES_EXPORTER": "zipkin,otlp"})
    assert "OTEL_TRACES_EXPORTER=zipkin is not known" in caplog.text


def test_nothing_asked_for_means_tracing_off(monkeypatch, identity):
    """Out of the box nothing is exported, and closing has nothing to wait for."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    tracing = open_tracing(identity)
    assert (NO_SPANS, True) == (tracing.counts(), tracing.close())


def test_the_sdk_is_not_imported_while_tracing_is_off():
    """Who does not trace pays neither the start-up time nor the memory of OpenTelemetry."""
    script = """
import sys
import observability.event, observability.fields, observability.metrics, observability.meter, observability.sampling
import observability.sinks.file, observability.sinks.key, observability.sinks.log, observability.sinks.stdout
from observability.tracing import open_tracing
open_tracing(observability.event.Identity("g", "h", 1, "0"))
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "[]\n" == ran.stdout
