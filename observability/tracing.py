"""Tracing: decide first, build spans afterwards and only for the few requests that are exported.

A request that is not sampled costs one random number. For a sampled one nothing is built while it runs either: its
spans are made from its wide event, with the times that stand there. OpenTelemetry's SDK is imported only when the
standard variables ask for an exporter.
"""

import logging
import os
from collections.abc import Mapping
from random import Random
from typing import Protocol

from observability.event import Identity, RequestEvent, ShadowEvent
from observability.propagation import RANDOM, SAMPLED, Parent, Trace, read_parent
from observability.sampling import NEVER, Sampler, read_sampler
from observability.span_counts import NO_SPANS, SpanCounts

EXPORTERS = ("otlp", "console")


class Spans(Protocol):
    """What makes and exports spans; the real one is observability/spans.py."""

    def write_request(self, trace: Trace, event: RequestEvent, /) -> None: ...
    def write_shadow(self, trace: Trace, event: ShadowEvent, /) -> None: ...
    def counts(self) -> SpanCounts: ...
    def close(self, timeout_s: float, /) -> bool: ...


class Tracing:
    """The only thing the gateway asks about traces. Called from the event loop."""

    def __init__(self, sampler: Sampler = NEVER, spans: Spans | None = None) -> None:
        """Without `spans` nothing is exported, and a caller's trace context is passed on as it came."""
        self._sampler = sampler
        self._spans = spans
        self._bound = sampler.bound if spans else 0
        self._bits = Random().getrandbits  # noqa: S311 - ids need no secrecy

    def begin(self, traceparent: bytes | None, tracestate: bytes | None) -> Trace | None:
        """The ids of a request that just arrived; None when there is nothing to trace and nothing to pass on.

        `traceparent` and `tracestate` are header values as received; invalid ones count as absent.
        """
        if traceparent is not None:
            parent = read_parent(traceparent, tracestate)
            if parent is not None:
                return self._join(parent)
        low = self._bits(64)
        if low >= self._bound:
            return None
        return Trace(f"{self._bits(64):016x}{low or 1:016x}", self._new_span_id(), sampled=True, flags=SAMPLED)

    def finish(self, trace: Trace, event: RequestEvent) -> None:
        """Export the request's server span and one span per call, if the trace is sampled."""
        if trace.sampled and self._spans:
            self._spans.write_request(trace, event)

    def finish_shadow(self, trace: Trace, event: ShadowEvent) -> None:
        """Export a shadow call as a trace of its own, linked to the request's, if that one is sampled."""
        if trace.sampled and self._spans:
            self._spans.write_shadow(trace, event)

    def counts(self) -> SpanCounts:
        return self._spans.counts() if self._spans else NO_SPANS

    def close(self, timeout_s: float = 5.0) -> bool:
        """Export what waits, for at most `timeout_s`; True if all of it was handed over in time."""
        return self._spans.close(timeout_s) if self._spans else True

    def _join(self, parent: Parent) -> Trace:
        if self._spans is None:
            return Trace(parent.trace_id, parent.span_id, False, parent.flags, parent.span_id, parent.tracestate)
        sampled = self._sampler.keeps(parent.trace_id, bool(parent.flags & SAMPLED))
        flags = (parent.flags & RANDOM) | sampled
        return Trace(parent.trace_id, self._new_span_id(), sampled, flags, parent.span_id, parent.tracestate)

    def _new_span_id(self) -> str:
        return f"{self._bits(64) or 1:016x}"


def open_tracing(identity: Identity) -> Tracing:
    """Tracing as the OTEL_* variables of this process ask for it; what they ask for in vain is logged, never fatal."""
    exporters = read_exporters(os.environ)
    if not exporters:
        return Tracing()
    from observability.export import open_export  # noqa: PLC0415 - the SDK costs a process 0.3 s and 14 MB
    from observability.spans import SpanWriter  # noqa: PLC0415

    try:
        spans = SpanWriter(open_export(exporters, os.environ), identity)
    except Exception as error:  # noqa: BLE001 - the SDK refuses some values; nobody's answer may hang on that
        _log.error("tracing stays off: %s", error)
        return Tracing()
    return Tracing(read_sampler(os.environ), spans)


def read_exporters(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Which exporters the standard variables ask for, of "otlp" and "console"; () when tracing is off.

    An OTLP endpoint alone asks for "otlp". OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none switch off.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    implied = "otlp" if any(environ.get(name, "").strip() for name in endpoints) else "none"
    asked = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or implied
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in (*EXPORTERS, "none"):
            _log.warning("OTEL_TRACES_EXPORTER=%s is not known; known are %s and none", name, ", ".join(EXPORTERS))
    return tuple(dict.fromkeys(name for name in names if name in EXPORTERS))


_log = logging.getLogger(__name__)
