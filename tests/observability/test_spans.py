import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from observability.export import CountedExport
from observability.propagation import Trace
from observability.spans import SpanWriter

TRACE, PARENT, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
ROOT = Trace(TRACE, SPAN, sampled=True, flags=1)
CHILD = Trace(TRACE, SPAN, sampled=True, flags=1, parent_id=PARENT, tracestate="congo=t61,rojo=00f")
ARRIVED_NS = 1_790_000_000_500_000_000


@pytest.fixture
def memory():
    return InMemorySpanExporter()


@pytest.fixture
def write(memory, identity, monkeypatch):
    """Writes an event's spans and returns them, the server span first."""
    for name in ("OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)

    def written(kind, trace, event):
        writer = SpanWriter(CountedExport([memory], 100, 100), identity)
        getattr(writer, f"write_{kind}")(trace, event)
        assert writer.close(10)
        return list(memory.get_finished_spans())

    return written


def ids(context):
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def test_the_server_span_has_the_id_that_was_promised(write, request_event):
    """Spans of whoever was called with our traceparent find their parent."""
    server, _ = write("request", ROOT, request_event())
    assert ((TRACE, SPAN), None, SpanKind.SERVER) == (ids(server.context), server.parent, server.kind)


def test_the_callers_span_is_the_parent(write, request_event):
    """The trace that a client began goes on, with its vendors' entries."""
    server, _ = write("request", CHILD, request_event())
    assert (TRACE, PARENT) == ids(server.parent)
    assert server.parent.is_remote
    assert {"congo": "t61", "rojo": "00f"} == dict(server.context.trace_state)


def test_times_are_those_of_the_event(write, request_event, call):
    """Spans are built afterwards, yet stand where things happened."""
    calls = (call(started_ms=0.25, duration_ms=1.5),)
    server, served = write("request", ROOT, request_event(at=1_790_000_000.5, duration_ms=2.0, calls=calls))
    assert (ARRIVED_NS, ARRIVED_NS + 2_000_000) == (server.start_time, server.end_time)
    assert (ARRIVED_NS + 250_000, ARRIVED_NS + 1_750_000) == (served.start_time, served.end_time)


def test_each_call_is_a_child_that_says_what_it_did(write, request_event, call):
    """A fallback can be seen: who failed, why, and who stepped in."""
    calls = (call(status="failed", cause="timeout"), call(arm="fraud-7", version="7", role="fallback"))
    server, failed, stepped_in = write("request", ROOT, request_event(calls=calls))
    assert [(TRACE, SPAN)] * 2 == [ids(span.parent) for span in (failed, stepped_in)]
    assert 3 == len({span.context.span_id for span in (server, failed, stepped_in)})
    assert ["serve fraud-8", "fallback fraud-7"] == [failed.name, stepped_in.name]
    assert (StatusCode.ERROR, "timeout") == (failed.status.status_code, failed.attributes["error.type"])
    assert (StatusCode.UNSET, None) == (stepped_in.status.status_code, stepped_in.attributes.get("error.type"))
    assert ("fallback", "7", "CPUExecutionProvider") == tuple(
        stepped_in.attributes[name] for name in ("turnout.role", "turnout.model.version", "turnout.provider")
    )


def test_an_http_request_bears_the_stable_names(write, request_event):
    """Dashboards made for HTTP servers work, and the decision can be seen beside them."""
    server, _ = write("request", ROOT, request_event())
    expected = {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "http.response.status_code": 200,
        "client.address": "10.0.0.7",
        "turnout.route": "fraud",
        "turnout.revision": 12,
        "turnout.strategy": "canary",
        "turnout.arm.assigned": "fraud-8",
        "turnout.arm.answered": "fraud-8",
        "turnout.share_ppm": 50_000,
        "turnout.shadows": ("fraud-9",),
        "turnout.request_id": "order-4711",
    }
    assert "POST /v2/models/{model}/infer" == server.name
    assert expected == {name: server.attributes[name] for name in expected}


def test_a_grpc_request_bears_the_rpc_names(write, request_event):
    """The same inference over gRPC is told in gRPC's terms."""
    event = request_event(protocol="grpc", http_status=0, grpc_status="OK")
    server, _ = write("request", ROOT, event)
    expected = {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
    }
    assert "inference.GRPCInferenceService/ModelInfer" == server.name
    assert expected == {name: server.attributes[name] for name in expected}
    assert "http.response.status_code" not in server.attributes


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"status": "ok"}, StatusCode.UNSET),
        ({"status": "invalid_input", "http_status": 400}, StatusCode.UNSET),
        ({"status": "error", "http_status": 500}, StatusCode.ERROR),
        ({"status": "timeout", "http_status": 504}, StatusCode.ERROR),
        ({"status": "ok", "protocol": "grpc", "http_status": 0, "grpc_status": "OK"}, StatusCode.UNSET),
        ({"status": "x", "protocol": "grpc", "http_status": 0, "grpc_status": "INVALID_ARGUMENT"}, StatusCode.UNSET),
        ({"status": "x", "protocol": "grpc", "http_status": 0, "grpc_status": "DEADLINE_EXCEEDED"}, StatusCode.ERROR),
    ],
)
def test_only_the_servers_faults_are_errors(write, request_event, changes, status):
    """A client's mistake has its error type, but does not count as a failure of the gateway."""
    server, _ = write("request", ROOT, request_event(**changes))
    expected = None if changes["status"] == "ok" else changes["status"]
    assert (status, expected) == (server.status.status_code, server.attributes.get("error.type"))


def test_a_unit_is_in_no_span(write, request_event):
    """Personal data does not leave by way of traces."""
    spans = write("request", ROOT, request_event(unit_hash="account-42", attributes={"country": "account-42"}))
    assert not [span for span in spans if "account-42" in span.to_json()]


def test_what_is_absent_is_left_out(write, request_event):
    """An empty field is no attribute."""
    server, _ = write("request", ROOT, request_event(fallback_cause="", shadows=(), http_status=0))
    for name in ("turnout.fallback.cause", "turnout.shadows", "http.response.status_code"):
        assert name not in server.attributes


def test_a_shadow_is_a_trace_of_its_own_linked_to_the_request(write, shadow_event):
    """A slow shadow does not make the request's trace look slow."""
    (shadow,) = write("shadow", CHILD, shadow_event(outcome="mismatch", agreement=0.5))
    assert (None, SpanKind.INTERNAL) == (shadow.parent, shadow.kind)
    assert shadow.context.trace_id != int(TRACE, 16)
    assert [(TRACE, SPAN)] == [ids(link.context) for link in shadow.links]
    assert ("shadow", "mismatch", 0.5) == tuple(
        shadow.attributes[name] for name in ("turnout.role", "turnout.shadow.outcome", "turnout.shadow.agreement")
    )


def test_a_shadow_that_failed_is_an_error_and_agrees_with_nothing(write, shadow_event, call):
    """A comparison that was not made is not told as one."""
    failed = call(arm="fraud-9", role="shadow", status="failed", cause="error")
    (shadow,) = write("shadow", ROOT, shadow_event(outcome="failed", agreement=-1.0, call=failed))
    assert StatusCode.ERROR == shadow.status.status_code
    assert "turnout.shadow.agreement" not in shadow.attributes


def test_a_shadow_that_never_ran_makes_no_span(write, shadow_event):
    """There is nothing to show."""
    assert [] == write("shadow", ROOT, shadow_event(outcome="dropped", dropped="queue", call=None))


def test_the_resource_says_which_gateway_it_was(write, request_event):
    """Spans of several gateways can be told apart."""
    server, _ = write("request", ROOT, request_event())
    expected = {
        "service.name": "turnout",
        "service.version": "0.1.0",
        "service.instance.id": "gate-1",
        "host.name": "host-a",
        "process.pid": 4711,
    }
    assert expected == {name: server.resource.attributes[name] for name in expected}


def test_what_the_operator_says_of_the_resource_wins(write, request_event, monkeypatch):
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES mean what they always mean."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "scoring")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,host.name=h2")
    server, _ = write("request", ROOT, request_event())
    names = ("service.name", "deployment.environment.name", "host.name", "service.version")
    assert ("scoring", "prod", "h2", "0.1.0") == tuple(server.resource.attributes[name] for name in names)
