"""The composition root of a worker: builds everything, hands it over, and takes it down in the opposite order."""

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Iterable
from importlib.metadata import version
from time import time

from msgspec import Struct

from gateway.config.bind import Binder, close_all
from gateway.config.compiled import CompiledRoute
from gateway.event_log import open_event_log
from gateway.execution.shadows import ShadowPool
from gateway.frontends.readiness import Readiness
from gateway.frontends.servers import Listen, Servers, Serving
from gateway.frontends.tls import Certificates, TlsRefused
from gateway.handover import Launch, shadows_of
from gateway.link import Ask, Leaving, Link, Order, Ready, Stop, Told
from gateway.recording import Recorder
from gateway.routing.router import Router
from gateway.routing.table import FIRST_REVISION, RoutingTable
from gateway.service import Service
from observability.event import LifeEvent
from observability.merge import snapshot_of
from observability.metrics import Metrics, unhurried
from observability.sinks.log import EventLog
from observability.tracing import Tracing, open_tracing
from runners.core.catalogue import Runners

LOG = logging.getLogger("turnout")
SHADOW_GRACE_S = 1.0  # nobody waits for a shadow, so nobody waits long for it to end


class StartRefused(Exception):
    """This process cannot serve what it was started with; the reason is for whoever started the gateway."""


class Doors(Struct, frozen=True):
    """The sockets that this worker was given. The control process holds them, too."""

    http: socket.socket
    grpc: socket.socket

    def close(self) -> None:
        self.http.close()
        self.grpc.close()


class Observers(Struct, frozen=True):
    """Everything that listens: built first, closed last."""

    metrics: Metrics
    log: EventLog
    tracing: Tracing
    recorder: Recorder


async def run(launch: Launch, slot: int, doors: Doors, link: Link[Order]) -> None:
    """Serve until told to stop, by order or signal, then let requests under way finish. Raises StartRefused.

    A second signal ends the process at once. The end of the control process ends nothing: traffic goes on.
    """
    stopped = _stop_signal()
    try:
        certificates = Certificates(launch.tls) if launch.tls else None
        observers = open_observers(launch)
    except (OSError, ValueError, TlsRefused) as error:
        raise StartRefused(str(error)) from error
    runners = Runners()
    binder = Binder(
        FIRST_REVISION,
        runner=runners.find,
        metrics=observers.metrics,
        report=observers.recorder.record_life,
        override_token=launch.override_token,
    )
    table = await binder.bind(launch.routes)
    obeying = asyncio.create_task(_obey(link, observers, stopped))
    try:
        await _serve(_Stage(launch, slot, doors, table, observers, certificates), link, stopped)
    finally:
        for route in table.routes.values():
            await close_all(route.arms)
        await runners.close()
        observers.recorder.record_life(LifeEvent(time(), "stopped", "", "", "", FIRST_REVISION))
        await asyncio.to_thread(_close_observers, observers)
        obeying.cancel()


class _Stage(Struct, frozen=True):
    """What is there before the first request."""

    launch: Launch
    slot: int
    doors: Doors
    table: RoutingTable
    observers: Observers
    certificates: Certificates | None


async def _serve(stage: _Stage, link: Link[Order], stopped: asyncio.Event) -> None:
    launch, observers, table, doors = stage.launch, stage.observers, stage.table, stage.doors
    bounds = shadows_of(launch.shadows, stage.slot, launch.workers_n)
    shadows = ShadowPool(observers.recorder.record_shadow, bounds)
    router = Router(table)
    readiness = Readiness()
    serving = Serving(
        service=Service(router, shadows),
        router=router,
        recorder=observers.recorder,
        tracing=observers.tracing,
        readiness=readiness,
        version=version("turnout"),
        limits=launch.limits,
    )
    servers = Servers(serving, Listen(certificates=stage.certificates))
    observers.metrics.set_revision(table.revision)
    watching = _watch(stage.certificates, observers)
    try:
        await _open(servers, doors)
        gc.freeze()  # what the start built stays; a full collection that walks it holds everybody up for 20 ms
        readiness.set(_is_whole(table, launch.routes))
        observers.recorder.record_life(LifeEvent(time(), "started", "", "", "", table.revision))
        link.send(Ready(list(table.routes), dict(table.quarantined)))
        await stopped.wait()
        link.send(Leaving())
        doors.close()
        await servers.stop(launch.drain_s)
    finally:
        if watching is not None:
            watching.cancel()
        await shadows.close(grace_s=SHADOW_GRACE_S)


async def _open(servers: Servers, doors: Doors) -> None:
    try:
        await servers.start(doors.http, doors.grpc)
    except OSError as error:
        raise StartRefused(str(error)) from error


async def _obey(link: Link[Order], observers: Observers, stopped: asyncio.Event) -> None:
    """Do what the control process says, until it has gone."""
    while (order := await link.receive()) is not None:
        match order:
            case Ask(number):
                families = unhurried(observers.metrics.collect())
                link.send(Told(number, await asyncio.to_thread(snapshot_of, families)))
            case Stop():
                stopped.set()
    if not stopped.is_set():
        LOG.warning("the control process has gone; this worker serves on, unwatched, until SIGTERM")
        observers.recorder.record_life(LifeEvent(time(), "control_lost", "", "", "", FIRST_REVISION))


def _watch(certificates: Certificates | None, observers: Observers) -> asyncio.Task[None] | None:
    if certificates is None:
        return None
    observers.metrics.watch_certificates(lambda: certificates.counts)
    return asyncio.create_task(certificates.watch(observers.recorder.record_life))


def open_observers(launch: Launch) -> Observers:
    """The recorder and what it writes to. Raises OSError or ValueError when the state directory cannot be used."""
    identity, log = open_event_log(launch)
    metrics = Metrics(identity.code_version)
    tracing = open_tracing(identity)
    metrics.watch_events(log.counts)
    metrics.watch_spans(tracing.counts)
    recorder = Recorder(log=log, metrics=metrics, tracing=tracing)
    metrics.watch_recorder(lambda: recorder.failed_n)
    return Observers(metrics, log, tracing, recorder)


def _close_observers(observers: Observers) -> None:
    observers.tracing.close()
    observers.log.close()


def _is_whole(table: RoutingTable, routes: Iterable[CompiledRoute]) -> bool:
    """Whether every route that matters can be answered."""
    return all(route.name in table.routes for route in routes if route.is_critical)


def _stop_signal() -> asyncio.Event:
    """Set by the first signal. An order to stop sets it too, and a signal that comes after it is still the first."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def stop() -> None:
        stopped.set()
        for number in numbers:  # asked twice: whoever asks will not wait for a drain
            loop.add_signal_handler(number, os._exit, 1)

    for number in numbers:
        loop.add_signal_handler(number, stop)
    return stopped
