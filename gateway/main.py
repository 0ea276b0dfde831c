"""The composition root: builds everything, hands it over, and takes it down in the opposite order."""

import asyncio
import gc
import logging
import os
import re
import signal
import socket
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from time import time

from msgspec import Struct

from gateway.config.bind import Binder, close_all
from gateway.config.compiled import CompiledRoute
from gateway.config.documents import SettingsDoc
from gateway.execution.shadows import ShadowBounds, ShadowPool
from gateway.frontends.http_server import HttpServer
from gateway.frontends.limits import Limits
from gateway.frontends.readiness import Readiness
from gateway.frontends.servers import Listen, Servers, Serving
from gateway.frontends.tls import Certificates
from gateway.recording import Recorder
from gateway.routing.router import Router
from gateway.routing.table import FIRST_REVISION, RoutingTable
from gateway.service import Service
from observability.event import Identity, LifeEvent
from observability.metrics import Metrics, metrics_app
from observability.sinks.file import SegmentFiles
from observability.sinks.key import read_or_create_key
from observability.sinks.line import LineEncoder
from observability.sinks.log import Destination, EventLog
from observability.sinks.stdout import StandardOutput
from observability.tracing import Tracing, open_tracing
from runners.core.catalogue import Runners
from strategies.core.spec import duration_s

LOG = logging.getLogger("turnout")
MIB = 1024 * 1024
SCRAPE_GRACE_S = 1.0
SHADOW_GRACE_S = 1.0  # nobody waits for a shadow, so nobody waits long for it to end


class Launch(Struct, frozen=True):
    """What a process is started with: settings after the command line had its say, and compiled routes.

    `events` is a directory, or "-" for standard output; `state` holds keys that outlive the process. Without
    `certificates` both ports are plain.
    """

    settings: SettingsDoc
    routes: tuple[CompiledRoute, ...]
    state: Path
    events: str
    override_token: bytes = b""
    certificates: Certificates | None = None


class Observers(Struct, frozen=True):
    """Everything that listens: built first, closed last."""

    metrics: Metrics
    log: EventLog
    tracing: Tracing
    recorder: Recorder


async def run(launch: Launch) -> None:
    """Serve until SIGTERM or SIGINT, then let requests under way finish. A second signal ends the process at once."""
    stopped = _stop_signal()
    observers = open_observers(launch)
    runners = Runners()
    binder = Binder(
        FIRST_REVISION,
        runner=runners.find,
        metrics=observers.metrics,
        report=observers.recorder.record_life,
        override_token=launch.override_token,
    )
    table = await binder.bind(launch.routes)
    try:
        await _serve(launch, table, observers, stopped)
    finally:
        for route in table.routes.values():
            await close_all(route.arms)
        await runners.close()
        observers.recorder.record_life(LifeEvent(time(), "stopped", "", "", "", FIRST_REVISION))
        await asyncio.to_thread(_close_observers, observers)


async def _serve(launch: Launch, table: RoutingTable, observers: Observers, stopped: asyncio.Event) -> None:
    settings, listen, pool = launch.settings, launch.settings.listen, launch.settings.shadow_pool
    shadows = ShadowPool(observers.recorder.record_shadow, ShadowBounds(pool.calls, pool.queue, pool.memory_mib * MIB))
    router = Router(table)
    readiness = Readiness()
    serving = Serving(
        service=Service(router, shadows),
        router=router,
        recorder=observers.recorder,
        tracing=observers.tracing,
        readiness=readiness,
        version=version("turnout"),
        limits=Limits(
            body_bytes=settings.body_limit_mib * MIB,
            connection_s=duration_s(settings.connection_age) if settings.connection_age else 0.0,
        ),
    )
    servers = Servers(serving, Listen(listen.host, listen.http, listen.grpc, launch.certificates))
    scraped = HttpServer(metrics_app(observers.metrics), listen.host, listen.metrics, "metrics")
    observers.metrics.set_revision(table.revision)
    watching = _watch(launch.certificates, observers)
    await scraped.start()
    try:
        await servers.start()
        gc.freeze()  # what the start built stays; a full collection that walks it holds everybody up for 20 ms
        readiness.set(_is_whole(table, launch.routes))
        _announce(table, launch, servers, scraped)
        observers.recorder.record_life(LifeEvent(time(), "started", "", "", "", table.revision))
        await stopped.wait()
        LOG.info("stopping: requests under way have %s to finish", settings.drain)
        await servers.stop(duration_s(settings.drain))
    finally:
        if watching is not None:
            watching.cancel()
        await shadows.close(grace_s=SHADOW_GRACE_S)
        await scraped.stop(SCRAPE_GRACE_S)


def _watch(certificates: Certificates | None, observers: Observers) -> asyncio.Task[None] | None:
    if certificates is None:
        return None
    observers.metrics.watch_certificates(lambda: certificates.counts)
    return asyncio.create_task(certificates.watch(observers.recorder.record_life))


def _announce(table: RoutingTable, launch: Launch, servers: Servers, scraped: HttpServer) -> None:
    host, secure = launch.settings.listen.host, "s" if launch.certificates else ""
    LOG.info(
        "serving %s at http%s://%s:%d, grpc%s://%s:%d, metrics http://%s:%d/metrics",
        ", ".join(table.routes) or "nothing",
        *(secure, host, servers.http_port),
        *(secure, host, servers.grpc_port),
        *(host, scraped.port),
    )
    for name, reason in table.quarantined.items():
        LOG.error("route %s is not served: %s", name, reason)


def open_observers(launch: Launch) -> Observers:
    """The recorder and what it writes to. Raises OSError or ValueError when the state directory cannot be used."""
    host = socket.gethostname()
    identity = Identity(_gateway_name(host), host, os.getpid(), version("turnout"))
    encoder = LineEncoder(identity, read_or_create_key(launch.state / "unit.key"))
    log = EventLog(_destination(launch.events, identity.gateway), encoder)
    metrics = Metrics(identity.code_version)
    tracing = open_tracing(identity)
    metrics.watch_events(log.counts)
    metrics.watch_spans(tracing.counts)
    recorder = Recorder(log=log, metrics=metrics, tracing=tracing)
    metrics.watch_recorder(lambda: recorder.failed_n)
    return Observers(metrics, log, tracing, recorder)


def _gateway_name(host: str) -> str:
    """The host's name as the name of a directory."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", host).lstrip(".-") or "gateway"


def _destination(events: str, gateway: str) -> Destination:
    return StandardOutput() if events == "-" else SegmentFiles(Path(events), gateway)


def _close_observers(observers: Observers) -> None:
    observers.tracing.close()
    observers.log.close()


def _is_whole(table: RoutingTable, routes: Iterable[CompiledRoute]) -> bool:
    """Whether every route that matters can be answered."""
    return all(route.name in table.routes for route in routes if route.is_critical)


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            os._exit(1)  # asked twice: whoever asks will not wait for a drain
        stopped.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopped
