"""Spans made from wide events, after the fact, with the times and ids that stand in them.

Imported only when tracing is on, since it brings OpenTelemetry's SDK. A unit never becomes an attribute: at this point
the event still holds it in the clear.
"""

from random import Random

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from observability import fields
from observability.event import Call, Identity, RequestEvent, ShadowEvent
from observability.export import CountedExport
from observability.propagation import Trace
from observability.span_counts import SpanCounts

Attributes = dict[str, str | int | float | tuple[str, ...]]


class SpanWriter:
    """Makes the spans of sampled requests and shadows and hands them to the export."""

    def __init__(self, export: CountedExport, identity: Identity) -> None:
        self._export = export
        self._ids = PlannedIds()
        provider = TracerProvider(
            sampler=ALWAYS_ON,  # whoever gets here has been sampled
            resource=_resource(identity),
            shutdown_on_exit=False,  # the gateway closes in its own order, with a bound
            id_generator=self._ids,
        )
        provider.add_span_processor(export)
        self._tracer = provider.get_tracer(fields.SCOPE, identity.code_version)

    def write_request(self, trace: Trace, event: RequestEvent) -> None:
        """The server span under the id that `trace` promised, and below it one span per call."""
        self._ids.plan(trace.trace_id, trace.span_id)
        span = self._tracer.start_span(
            fields.INFER_RPC_METHOD
            if event.protocol == fields.GRPC
            else f"{fields.INFER_METHOD} {fields.INFER_HTTP_ROUTE}",
            context=_within(trace, trace.parent_id, is_remote=True) if trace.parent_id else Context(),
            kind=SpanKind.SERVER,
            attributes=_present(_request_attributes(event)),
            start_time=_nanoseconds(event.at, 0.0),
        )
        if _is_server_fault(event):
            span.set_status(StatusCode.ERROR, event.error)
        span.end(_nanoseconds(event.at, event.duration_ms))
        within = _within(trace, trace.span_id, is_remote=False)
        for call in event.calls:
            self._write_call(call, event.at, self._start_call(call, event.at, within))

    def write_shadow(self, trace: Trace, event: ShadowEvent) -> None:
        """A root span in a trace of its own, linked to the request's; nothing for a shadow that never ran."""
        if event.call is None:
            return
        link = Link(_context_of(trace, trace.span_id, is_remote=False))
        span = self._start_call(event.call, event.at, Context(), links=(link,))
        span.set_attributes(_present(_shadow_attributes(event)))
        self._write_call(event.call, event.at, span)

    def counts(self) -> SpanCounts:
        return self._export.counts()

    def close(self, timeout_s: float) -> bool:
        return self._export.close(timeout_s)

    def _start_call(self, call: Call, at: float, within: Context, links: tuple[Link, ...] = ()) -> Span:
        self._ids.plan_random()
        return self._tracer.start_span(
            f"{call.role} {call.arm}",
            context=within,
            kind=SpanKind.INTERNAL,
            attributes=_present(_call_attributes(call)),
            links=links,
            start_time=_nanoseconds(at, call.started_ms),
        )

    def _write_call(self, call: Call, at: float, span: Span) -> None:
        if call.status != "ok":
            span.set_status(StatusCode.ERROR, call.cause)
        span.end(_nanoseconds(at, call.started_ms + call.duration_ms))


class PlannedIds(IdGenerator):
    """Gives the SDK the ids a request already goes by, instead of new ones."""

    def __init__(self) -> None:
        self._random = Random()  # noqa: S311 - ids need no secrecy
        self._trace_id = self._span_id = 1

    def plan(self, trace_id: str, span_id: str) -> None:
        self._trace_id, self._span_id = int(trace_id, 16), int(span_id, 16)

    def plan_random(self) -> None:
        self._trace_id, self._span_id = self._random.getrandbits(128) or 1, self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        return self._trace_id

    def generate_span_id(self) -> int:
        return self._span_id


def _resource(identity: Identity) -> Resource:
    ours = Resource(
        {
            fields.SERVICE_NAME: fields.SCOPE,
            fields.SERVICE_VERSION: identity.code_version,
            fields.SERVICE_INSTANCE_ID: identity.gateway,
            fields.HOST_NAME: identity.host,
            fields.PROCESS_PID: identity.process,
        }
    )
    return Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)  # what the operator says, wins


def _context_of(trace: Trace, span_id: str, *, is_remote: bool) -> SpanContext:
    members = [member.split("=", 1) for member in trace.tracestate.split(",")] if trace.tracestate else []
    return SpanContext(
        int(trace.trace_id, 16),
        int(span_id, 16),
        is_remote=is_remote,
        trace_flags=TraceFlags(trace.flags),
        trace_state=TraceState([(key, value) for key, value in members]),
    )


def _within(trace: Trace, span_id: str, *, is_remote: bool) -> Context:
    return set_span_in_context(NonRecordingSpan(_context_of(trace, span_id, is_remote=is_remote)), Context())


def _request_attributes(event: RequestEvent) -> Attributes:
    return {
        **(_rpc_attributes(event) if event.protocol == fields.GRPC else _http_attributes(event)),
        fields.CLIENT_ADDRESS: event.caller,
        fields.ERROR_TYPE: "" if event.status == "ok" else event.status,
        fields.EVENT_ID: event.event_id,
        fields.REQUEST_ID: event.request_id,
        fields.ROUTE: event.route,
        fields.REVISION: event.revision,
        fields.EXPERIMENT: event.experiment,
        fields.STRATEGY: event.strategy,
        fields.ASSIGNED_ARM: event.assigned_arm,
        fields.ANSWERED_ARM: event.answered_arm,
        fields.REASON: event.reason,
        fields.SHARE_PPM: event.share_ppm,
        fields.SHADOWS: event.shadows,
        fields.FALLBACK_CAUSE: event.fallback_cause,
        fields.STATUS: event.status,
        fields.ROWS: event.rows,
        fields.REQUEST_BYTES: event.request_bytes,
        fields.RESPONSE_BYTES: event.response_bytes,
        fields.DEADLINE_MS: event.deadline_ms,
    }


def _http_attributes(event: RequestEvent) -> Attributes:
    return {
        fields.HTTP_REQUEST_METHOD: fields.INFER_METHOD,
        fields.HTTP_ROUTE: fields.INFER_HTTP_ROUTE,
        fields.HTTP_RESPONSE_STATUS_CODE: event.http_status or "",
    }


def _rpc_attributes(event: RequestEvent) -> Attributes:
    return {
        fields.RPC_SYSTEM_NAME: fields.GRPC,
        fields.RPC_METHOD: fields.INFER_RPC_METHOD,
        fields.RPC_RESPONSE_STATUS_CODE: event.grpc_status,
    }


def _call_attributes(call: Call) -> Attributes:
    return {
        fields.ARM: call.arm,
        fields.ROLE: call.role,
        fields.MODEL_VERSION: call.version,
        fields.MODEL_DIGEST: call.digest,
        fields.PROVIDER: call.provider,
        fields.ERROR_TYPE: call.cause,
    }


def _shadow_attributes(event: ShadowEvent) -> Attributes:
    attributes: Attributes = {
        fields.EVENT_ID: event.event_id,
        fields.REQUEST_ID: event.request_id,
        fields.ROUTE: event.route,
        fields.REVISION: event.revision,
        fields.EXPERIMENT: event.experiment,
        fields.ANSWERED_ARM: event.answered_arm,
        fields.SHADOW_OUTCOME: event.outcome,
        fields.ROWS: event.rows,
    }
    return attributes if event.agreement < 0 else {**attributes, fields.AGREEMENT: event.agreement}


def _present(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value not in ("", ())}


def _is_server_fault(event: RequestEvent) -> bool:
    """Whether the span's status is an error: what the client did wrong leaves it unset, as the conventions ask."""
    if event.protocol == fields.GRPC:
        return event.grpc_status in fields.GRPC_SERVER_FAULTS
    return event.http_status >= 500


def _nanoseconds(at: float, after_ms: float) -> int:
    return int(at * 1e9) + int(after_ms * 1e6)
