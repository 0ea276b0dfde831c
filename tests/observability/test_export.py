import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from observability.export import CountedExport, open_export
from observability.sampling import IDS, Sampler
from observability.spans import SpanWriter
from observability.tracing import Tracing, open_tracing

ALL = Sampler(IDS, parent_based=False)
SPANS_A_REQUEST = 2  # the server span and that of one call


class Collector(BaseHTTPRequestHandler):
    """A tiny OTLP/HTTP receiver: decodes what it gets and answers with the server's `status`."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.put((self.path, dict(self.headers), ExportTraceServiceRequest.FromString(body)))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Gate(SpanExporter):
    """Holds every batch until it is let go, then takes or refuses it."""

    def __init__(self, result=SpanExportResult.SUCCESS):
        self.result = result
        self.entered, self.go_on = threading.Event(), threading.Event()

    def export(self, spans):
        self.entered.set()
        assert self.go_on.wait(10)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def collector():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.received, server.status = SimpleQueue(), 200
    serving = threading.Thread(target=server.serve_forever, args=[0.01])
    serving.start()
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture(autouse=True)
def environ(monkeypatch):
    """The process's environment, with all tracing kept and nothing else asked for."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_BSP_MAX_QUEUE_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.3")  # seconds
    return monkeypatch


def trace_requests(tracing, event, count):
    for _ in range(count):
        tracing.finish(tracing.begin(None, None), event)


def exporting_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("OtelBatch")]


def test_a_real_collector_receives_the_spans(collector, environ, identity, request_event):
    """Setting one standard variable sends traces to an OTLP collector over HTTP."""
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    environ.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
    environ.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10")
    tracing = open_tracing(identity)
    trace = tracing.begin(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"a=1")
    tracing.finish(trace, request_event())
    assert tracing.close(10)
    path, headers, message = collector.received.get(timeout=10)
    (resource,) = message.resource_spans
    (scope,) = resource.scope_spans
    server, call = scope.spans
    assert ("/v1/traces", "acme") == (path, headers["x-tenant"])
    assert "turnout" in {item.value.string_value for item in resource.resource.attributes if item.key == "service.name"}
    assert (trace.trace_id, trace.span_id) == (server.trace_id.hex(), server.span_id.hex())
    assert ("b7ad6b7169203331", "a=1") == (server.parent_span_id.hex(), server.trace_state)
    assert (server.trace_id, server.span_id) == (call.trace_id, call.parent_span_id)
    assert (2, {"queue_full": 0, "export_failed": 0, "closed": 0}) == (
        tracing.counts().exported_n,
        tracing.counts().dropped,
    )


def test_a_collector_that_refuses_is_counted(collector, environ, identity, request_event):
    """Spans that nobody took are not told as exported."""
    collector.status = 400
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    tracing = open_tracing(identity)
    trace_requests(tracing, request_event(), 3)
    tracing.close(10)
    assert (0, 6) == (tracing.counts().exported_n, tracing.counts().dropped["export_failed"])


def test_a_closed_port_costs_spans_and_nothing_else(environ, identity, request_event):
    """With the collector down requests go on, one thread tries, and every span is accounted for."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        before = len(exporting_threads())
        tracing = open_tracing(identity)
        trace_requests(tracing, request_event(), 100)
        assert before + 1 == len(exporting_threads())
        assert tracing.close(10)
    assert (0, 0) == (tracing.counts().exported_n, tracing.counts().waiting_n)
    assert 100 * SPANS_A_REQUEST == sum(tracing.counts().dropped.values())


def test_a_collector_that_never_answers_fills_a_bounded_queue(environ, identity, request_event, eventually):
    """Behind a black hole memory stays bounded, drops are counted, and closing does not wait for it."""
    environ.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "512")
    environ.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{black_hole.getsockname()[1]}")
        before = set(exporting_threads())
        tracing = open_tracing(identity)
        trace_requests(tracing, request_event(), 3000)
        (exporting,) = set(exporting_threads()) - before
        assert tracing.counts().waiting_n <= 512
        assert tracing.counts().dropped["queue_full"] > 0
        assert not tracing.close(0.05)
        assert 0 == tracing.counts().waiting_n
    eventually(lambda: not exporting.is_alive())
    assert 6000 == sum(tracing.counts().dropped.values())


def test_the_newest_spans_are_dropped_when_the_queue_is_full(identity, request_event):
    """What was promised first is exported; what did not fit is counted exactly."""
    gate = Gate()
    tracing = Tracing(ALL, SpanWriter(CountedExport([gate], queue_size=8, batch_size=4), identity))
    trace_requests(tracing, request_event(), 2)
    assert gate.entered.wait(10)
    trace_requests(tracing, request_event(), 20)
    assert (8, 44 - 4 - 8) == (tracing.counts().waiting_n, tracing.counts().dropped["queue_full"])
    gate.go_on.set()
    assert tracing.close(10)
    assert (12, 0) == (tracing.counts().exported_n, tracing.counts().waiting_n)


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, RuntimeError("broken")])
def test_an_exporter_that_fails_in_its_own_way_is_counted(identity, request_event, result):
    """Whatever goes wrong in an exporter costs its batch alone."""
    gate = Gate(result)
    gate.go_on.set()
    tracing = Tracing(ALL, SpanWriter(CountedExport([gate], 100, 100), identity))
    trace_requests(tracing, request_event(), 5)
    tracing.close(10)
    assert (0, 10) == (tracing.counts().exported_n, tracing.counts().dropped["export_failed"])


def test_spans_after_the_end_are_counted(identity, request_event):
    """A late request is missing from the traces, but not from the count."""
    gate = Gate()
    tracing = Tracing(ALL, SpanWriter(CountedExport([gate], 100, 100), identity))
    tracing.close(10)
    trace_requests(tracing, request_event(), 5)
    assert 10 == tracing.counts().dropped["closed"]


def test_settings_that_cannot_be_met_are_said_and_replaced(caplog):
    """A typing error in a variable stops neither the gateway nor its traces."""
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}
    export = open_export(("otlp",), environ)
    assert export.close(10)
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported" in caplog.text
    assert "OTEL_BSP_MAX_QUEUE_SIZE=many is no positive number; using 2048" in caplog.text


def test_settings_the_sdk_refuses_leave_tracing_off(environ, caplog, identity):
    """Telemetry that cannot be set up is told, and the gateway serves."""
    environ.setenv("OTEL_TRACES_EXPORTER", "otlp")
    environ.setenv("OTEL_BSP_SCHEDULE_DELAY", "-1")
    assert open_tracing(identity).begin(None, None) is None
    assert "tracing stays off: schedule_delay_millis must be positive" in caplog.text


def test_a_queue_smaller_than_a_batch_is_served(identity, request_event):
    """A small queue is a wish to save memory, not an error."""
    gate = Gate()
    gate.go_on.set()
    tracing = Tracing(ALL, SpanWriter(CountedExport([gate], queue_size=2, batch_size=512), identity))
    trace_requests(tracing, request_event(), 1)
    assert tracing.close(10)
    assert 2 == tracing.counts().exported_n


def test_spans_can_be_printed(environ, identity, request_event, capsys):
    """OTEL_TRACES_EXPORTER=console shows traces without any collector."""
    environ.setenv("OTEL_TRACES_EXPORTER", "console")
    tracing = open_tracing(identity)
    trace_requests(tracing, request_event(), 1)
    assert tracing.close(10)
    assert '"name": "serve fraud-8"' in capsys.readouterr().out
