"""Getting spans out of the process: a bounded queue, one exporting thread, and a count of everything that is lost.

Imported only when tracing is on, since it brings OpenTelemetry's SDK.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult

from observability.span_counts import SpanCounts

DEFAULT_QUEUE = 2048  # spans; the specification's default
DEFAULT_BATCH = 64  # of its 512 the encoder would make one piece, 25 ms in which requests wait for the interpreter


class CountingExporter(SpanExporter):
    """Hands batches to the real exporters and counts how they fared; runs in the exporting thread."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self._exporters = exporters
        self.taken_n = self.exported_n = self.failed_n = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken_n += len(spans)
        outcomes = [_try(exporter, spans) for exporter in self._exporters]
        if all(outcomes):
            self.exported_n += len(spans)
            return SpanExportResult.SUCCESS
        self.failed_n += len(spans)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        for exporter in self._exporters:
            exporter.shutdown()


class CountedExport(SpanProcessor):
    """The SDK's batch processor behind a bound of our own.

    The SDK's queue drops its oldest spans and tells nobody how many; here the newest are dropped before they get
    there, and counted.
    """

    def __init__(self, exporters: Sequence[SpanExporter], queue_size: int, batch_size: int) -> None:
        self._exporter = CountingExporter(exporters)
        self._queue_size = queue_size
        self._batches = BatchSpanProcessor(
            self._exporter, queue_size, max_export_batch_size=min(batch_size, queue_size)
        )
        self._accepted_n = self._queue_full_n = self._closed_n = 0
        self._is_closed = False

    def on_end(self, span: ReadableSpan) -> None:
        if self._is_closed:
            self._closed_n += 1
        elif self._waiting_n() >= self._queue_size:
            self._queue_full_n += 1
        else:
            self._accepted_n += 1
            self._batches.on_end(span)

    def counts(self) -> SpanCounts:
        stranded_n = self._waiting_n() if self._is_closed else 0
        return SpanCounts(
            exported_n=self._exporter.exported_n,
            waiting_n=self._waiting_n() - stranded_n,
            dropped={
                "queue_full": self._queue_full_n,
                "export_failed": self._exporter.failed_n,
                "closed": self._closed_n + stranded_n,
            },
        )

    def close(self, timeout_s: float) -> bool:
        """Export what waits, but leave a collector that does not answer behind after `timeout_s`."""
        self._is_closed = True
        closing = Thread(target=self._batches.shutdown, name="turnout-spans-close", daemon=True)
        closing.start()
        closing.join(timeout_s)
        return not closing.is_alive() and self._waiting_n() == 0

    def _waiting_n(self) -> int:
        return self._accepted_n - self._exporter.taken_n


def open_export(exporters: Sequence[str], environ: Mapping[str, str]) -> CountedExport:
    """The export that `exporters` ("otlp", "console") and the OTEL_BSP_* variables ask for.

    The OTLP exporter itself reads endpoint, headers, timeouts and certificates from the process's environment.
    """
    for variable in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        if environ.get(variable, "http/protobuf") != "http/protobuf":
            _log.warning("%s=%s is not supported; speaking http/protobuf", variable, environ[variable])
    return CountedExport(
        [OTLPSpanExporter() if name == "otlp" else ConsoleSpanExporter(out=sys.stdout) for name in exporters],
        queue_size=_read_count(environ, "OTEL_BSP_MAX_QUEUE_SIZE", DEFAULT_QUEUE),
        batch_size=_read_count(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", DEFAULT_BATCH),
    )


def _try(exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> bool:
    try:
        return exporter.export(spans) is SpanExportResult.SUCCESS
    except Exception:  # noqa: BLE001 - whatever an exporter raises, the next batch must still be tried
        _log.exception("exporting %d spans failed", len(spans))
        return False


def _read_count(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text:
        _log.warning("%s=%s is no positive number; using %d", name, text, default)
    return default


_log = logging.getLogger(__name__)
