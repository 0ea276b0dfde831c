"""The gateway's Prometheus metrics: gathered while serving as plain integers, turned into families at scrape.

Label values come from closed sets: routes and arms of the configuration, codes, causes, reasons. No id is ever one.
docs/metrics.md explains every family, and a test holds it to that.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from observability.families import collect_routes, counter, gauge
from observability.meter import RouteCells, RouteMeter
from observability.sinks.log import EventCounts
from observability.span_counts import SpanCounts

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Gather = Callable[[], Awaitable[Iterable[Metric]]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]

PLAIN = "text/plain; charset=utf-8"
BREATH_S = 0.0002


class CertificateCounts(Struct, frozen=True):
    """How often TLS certificates that had changed were taken into use, and how often they could not be."""

    loaded_n: int
    refused_n: int


class Metrics(Collector):
    """All metrics of one process, in a registry of their own. Written from the event loop, scraped from anywhere."""

    def __init__(self, version: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`version` is the gateway's own; `clock` counts seconds."""
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._version = version
        self._clock = clock
        self._started_at = clock()
        self._revision = 0
        self._routes: dict[str, RouteCells] = {}
        self._refused: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._event_counts: Callable[[], EventCounts] | None = None
        self._span_counts: Callable[[], SpanCounts] | None = None
        self._feedback_counts: Callable[[], Sequence[tuple[tuple[str, str], int]]] = tuple
        self._evidence_counts: Callable[[], Mapping[str, int]] = dict
        self._records_failed_n: Callable[[], int] = int
        self._certificate_counts: Callable[[], CertificateCounts] = lambda: CertificateCounts(0, 0)
        self._spare_counts: Callable[[], Mapping[str, int]] = dict

    def route(self, route: str, strategy: str, arms: Sequence[tuple[str, str]]) -> RouteMeter:
        """The meter of a route under one routing table; `arms` are (name, version), all that may be called.

        Counters continue those of the tables before, as long as the older meter is forgotten after this call.
        """
        self._routes = {name: cells for name, cells in self._routes.items() if cells.meters}
        return RouteMeter(self._routes.setdefault(route, RouteCells()), strategy, arms)

    def refuse(self, protocol: str, code: str) -> None:
        """Count a request that was refused before its route was known. `code` is an HTTP status or a gRPC code."""
        self._refused[protocol, code] += 1

    def set_revision(self, number: int) -> None:
        self._revision = number

    def watch_events(self, counts: Callable[[], EventCounts]) -> None:
        """Read the event log's counters at each scrape."""
        self._event_counts = counts

    def watch_spans(self, counts: Callable[[], SpanCounts]) -> None:
        """Read the trace exporter's counters at each scrape."""
        self._span_counts = counts

    def watch_certificates(self, counts: Callable[[], CertificateCounts]) -> None:
        """Read the counters of TLS certificates at each scrape."""
        self._certificate_counts = counts

    def watch_feedback(self, counts: Callable[[], Sequence[tuple[tuple[str, str], int]]]) -> None:
        """Read at each scrape how many clicks of a route (route, result) there were."""
        self._feedback_counts = counts

    def watch_evidence(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Read at each scrape how much evidence was lost, by reason."""
        self._evidence_counts = counts

    def watch_spares(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Read at each scrape what became of models that were kept open after their last use."""
        self._spare_counts = counts

    def watch_recorder(self, failed_n: Callable[[], int]) -> None:
        """Read at each scrape how many requests and shadow calls could not be recorded."""
        self._records_failed_n = failed_n

    def collect(self) -> Iterator[Metric]:
        """Every family, as prometheus_client asks for them at a scrape."""
        yield InfoMetricFamily("turnout_build", "The gateway's version.", value={"version": self._version})
        yield GaugeMetricFamily("turnout_revision", "The live revision.", value=self._revision)
        uptime_s = self._clock() - self._started_at
        yield GaugeMetricFamily("turnout_uptime_seconds", "Time since the process was ready to count.", value=uptime_s)
        yield counter(
            "turnout_requests_refused",
            "Requests refused before their route was known.",
            ("protocol", "code"),
            [((protocol, code), n) for (protocol, code), n in list(self._refused.items())],
        )
        certificates = self._certificate_counts()
        yield counter(
            "turnout_certificate_changes",
            "Changes of the TLS certificates' files, by what they came to.",
            ("outcome",),
            [(("loaded",), certificates.loaded_n), (("refused",), certificates.refused_n)],
        )
        yield counter(
            "turnout_spare_models",
            "Models that were kept open for a moment after their last use, by what became of them.",
            ("outcome",),
            [((outcome,), n) for outcome, n in self._spare_counts().items()],
        )
        failed = "Requests and shadow calls that could not be recorded: a fault of the gateway's own."
        yield CounterMetricFamily("turnout_records_failed", failed, value=self._records_failed_n())
        yield counter(
            "turnout_feedback_clicks",
            "Clicks on merged lists, by what they came to.",
            ("route", "result"),
            self._feedback_counts(),
        )
        yield collect_evidence(self._evidence_counts())
        routes = [(name, cells) for name, cells in list(self._routes.items()) if cells.meters]
        yield from collect_routes(routes)
        if self._event_counts:
            yield from collect_events(self._event_counts())
        if self._span_counts:
            yield from _collect_spans(self._span_counts())


def collect_evidence(lost_n: Mapping[str, int]) -> Metric:
    """The family of what the ledger lacks, by reason."""
    counts = [((reason,), n) for reason, n in lost_n.items()]
    return counter(
        "turnout_evidence_lost", "Times that evidence was lost on its way to the ledger.", ("reason",), counts
    )


def metrics_app(gather: Gather) -> ASGIApp:
    """An ASGI application that answers GET /metrics, in Prometheus text or OpenMetrics as the scraper prefers.

    The text is made in a thread, family by family, so that even thousands of series hold nobody up.
    """

    async def app(scope: Message, _receive: Receive, send: Send) -> None:
        match scope["type"], scope.get("path"), scope.get("method"):
            case "http", "/metrics", "GET" | "HEAD":
                accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
                encode, content_type = choose_encoder(accept.decode("latin-1"))
                found = _Found(await gather())
                await _answer(send, 200, content_type, await asyncio.to_thread(encode, found))
            case "http", "/metrics", _:
                await _answer(send, 405, PLAIN, b"only GET\n", (b"allow", b"GET, HEAD"))
            case "http", _, _:
                await _answer(send, 404, PLAIN, b"only /metrics is here\n")
            case _:  # lifespan, websocket: nothing to do for them
                return

    return app


def unhurried(families: Iterable[Metric]) -> Iterator[Metric]:
    """The same families with a breath after each, in which the event loop gets the interpreter back."""
    for family in families:
        yield family
        time.sleep(BREATH_S)


class _Found(Collector):
    """Families that were gathered already, in the shape that prometheus_client's encoders take."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return unhurried(self._families)


async def _answer(send: Send, status: int, content_type: str, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def collect_events(counts: EventCounts) -> Iterator[Metric]:
    """What became of the events offered to one log."""
    yield CounterMetricFamily("turnout_events_written", "Wide events written.", value=counts.written_n)
    yield counter(
        "turnout_events_dropped",
        "Wide events lost, by reason.",
        ("reason",),
        [((reason,), n) for reason, n in counts.dropped.items()],
    )
    yield gauge("turnout_events_waiting", "Wide events that wait to be written.", (), [((), counts.waiting_n)])
    deleted = "Segments of events deleted to stay within the limit of their size."
    yield CounterMetricFamily("turnout_events_segments_deleted", deleted, value=counts.segments_deleted_n)


def _collect_spans(counts: SpanCounts) -> Iterator[Metric]:
    yield CounterMetricFamily("turnout_spans_exported", "Spans the collector took.", value=counts.exported_n)
    yield counter(
        "turnout_spans_dropped",
        "Spans lost, by reason.",
        ("reason",),
        [((reason,), n) for reason, n in counts.dropped.items()],
    )
