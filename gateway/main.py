"""The composition root of a worker: builds everything, hands it over, and takes it down in the opposite order."""

import asyncio
import gc
import logging
import os
import signal
import socket
from importlib.metadata import version
from time import time

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.bind import Binder, Bound
from gateway.event_log import open_event_log
from gateway.execution.shadows import ShadowPool
from gateway.feedback.intake import Intake
from gateway.frontends.readiness import Readiness
from gateway.frontends.servers import Listen, Servers, Serving
from gateway.frontends.tls import Certificates, TlsRefused
from gateway.handover import Launch, shadows_of, unpack_routes
from gateway.link import (
    Ask,
    Discard,
    Hosted,
    Kept,
    Leaving,
    Link,
    Missed,
    Order,
    Ready,
    Stop,
    Swap,
    Swapped,
    Taken,
    Told,
    Warm,
    Warmed,
)
from gateway.recording import Recorder
from gateway.reporting import Reporting
from gateway.routing.leases import Leases
from gateway.routing.router import Router
from gateway.routing.spares import Spares
from gateway.service import Service
from gateway.tables import Tables
from gateway.tally import Tallies
from observability.event import LifeEvent
from observability.merge import snapshot_of
from observability.metrics import Metrics, unhurried
from observability.sinks.log import EventLog
from observability.tracing import Tracing, open_tracing
from runners.core.catalogue import Runners
from runners.core.marks import Marks
from runners.embedded import Embedded
from runners.ray.board import Board
from runners.ray.opener import RayRunner

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
    tallies: Tallies


async def run(launch: Launch, slot: int, doors: Doors, link: Link[Order], marks: Marks) -> None:
    """Serve until told to stop, by order or signal, then let requests under way finish. Raises StartRefused.

    A second signal ends the process at once. The end of the control process ends nothing: traffic goes on.
    """
    stopped = _stop_signal()
    try:
        certificates = Certificates(launch.tls) if launch.tls else None
        observers = open_observers(launch)
    except (OSError, ValueError, TlsRefused) as error:
        raise StartRefused(str(error)) from error
    board = Board(launch.dial, launch.membership) if launch.dial else None
    runners = Runners({"ray": RayRunner(board), "embedded": Embedded(marks)})
    reporting = Reporting(observers.tallies, link)
    spares = Spares()
    observers.metrics.watch_spares(lambda: spares.counts)
    leases = Leases(runners.find, spares)
    binder = Binder(
        leases,
        metrics=observers.metrics,
        report=observers.recorder.record_life,
        override_token=launch.override_token,
        tallies=observers.tallies,
    )
    bound = await binder.bind(launch.revision, launch.routes)
    stage = replace(_set_stage(launch, slot, binder, bound, observers), board=board)
    stage.intake.connect(link.send)
    if board is not None:
        board.connect(lambda name: link.send(Missed(name)))
    obeying = asyncio.create_task(_obey(link, stage, reporting, stopped))
    saying = asyncio.create_task(reporting.keep())
    try:
        await _serve(stage, doors, certificates, link, stopped)
    finally:
        saying.cancel()
        observers.recorder.flush()
        await reporting.say_last()
        obeying.cancel()
        await stage.tables.close()
        await leases.close()
        await runners.close()
        observers.recorder.close()
        observers.recorder.record_life(LifeEvent(time(), "stopped", "", "", "", stage.revision))
        await asyncio.to_thread(_close_observers, observers)


class _Stage(Struct, frozen=True):
    """What is there before the first request, and as long as requests are."""

    launch: Launch
    tables: Tables
    serving: Serving
    shadows: ShadowPool
    intake: Intake
    observers: Observers
    board: Board | None = None

    @property
    def revision(self) -> int:
        return self.tables.live.table.revision

    def tell_revision(self) -> None:
        """Have metrics and probes say what is live now."""
        self.observers.metrics.set_revision(self.revision)
        self.serving.readiness.set(self.tables.live.is_whole)


def _set_stage(launch: Launch, slot: int, binder: Binder, bound: Bound, observers: Observers) -> _Stage:
    bounds = shadows_of(launch.shadows, slot, launch.workers_n)
    shadows = ShadowPool(observers.recorder.record_shadow, bounds)
    router = Router(bound.table)
    intake = Intake(launch.feedback_secret, launch.feedback_window_s)
    observers.metrics.watch_feedback(intake.counted)
    serving = Serving(
        service=Service(router, shadows),
        router=router,
        recorder=observers.recorder,
        tracing=observers.tracing,
        readiness=Readiness(),
        version=version("turnout"),
        limits=launch.limits,
        intake=intake,
    )
    tables = Tables(binder, bound, router, shadows, launch.drain_s)
    return _Stage(launch, tables, serving, shadows, intake, observers)


async def _serve(
    stage: _Stage, doors: Doors, certificates: Certificates | None, link: Link[Order], stopped: asyncio.Event
) -> None:
    servers = Servers(stage.serving, Listen(certificates=certificates))
    watching = _watch(certificates, stage.observers)
    try:
        await _open(servers, doors)
        gc.freeze()  # what the start built stays; a full collection that walks it holds everybody up for 20 ms
        stage.tell_revision()
        table = stage.tables.live.table
        stage.observers.recorder.record_life(LifeEvent(time(), "started", "", "", "", table.revision))
        link.send(Ready(table.revision, list(table.routes), dict(table.quarantined)))
        await stopped.wait()
        link.send(Leaving())
        doors.close()
        await servers.stop(stage.launch.drain_s)
    finally:
        if watching is not None:
            watching.cancel()
        await stage.shadows.close(grace_s=SHADOW_GRACE_S)


async def _open(servers: Servers, doors: Doors) -> None:
    try:
        await servers.start(doors.http, doors.grpc)
    except OSError as error:
        raise StartRefused(str(error)) from error


async def _obey(link: Link[Order], stage: _Stage, reporting: Reporting, stopped: asyncio.Event) -> None:
    """Do what the control process says, until it has gone. What takes long is done beside, one after the other."""
    metrics, tables = stage.observers.metrics, stage.tables
    under_way: set[asyncio.Task[None]] = set()
    while (order := await link.receive()) is not None:
        match order:
            case Ask(number):
                snapshot = await asyncio.to_thread(snapshot_of, unhurried(metrics.collect()))
                link.send(Told(number, snapshot, stage.board.readings() if stage.board else {}))
            case Warm(number, routes):
                task = asyncio.create_task(_warm(link, tables, number, routes))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            case Swap(number):
                if tables.swap(number):
                    stage.tell_revision()
                    link.send(Swapped(number))
            case Discard(number):
                await tables.discard(number)
            case Stop():
                stopped.set()
            case Kept() | Taken() | Hosted():
                _hand_on(order, stage, reporting)
    stage.intake.disconnect()
    if not stopped.is_set():
        LOG.warning("the control process has gone; this worker serves on, unwatched, until SIGTERM")
        stage.observers.recorder.record_life(LifeEvent(time(), "control_lost", "", "", "", stage.revision))


def _hand_on(order: Kept | Taken | Hosted, stage: _Stage, reporting: Reporting) -> None:
    """What this worker has sent up is where it will stay; or who answers for arms elsewhere has changed."""
    match order:
        case Kept(number, results):
            stage.intake.answer(number, results)
        case Taken(seq):
            reporting.take(seq)
        case Hosted(membership) if stage.board is not None:
            stage.board.update(membership)


async def _warm(link: Link[Order], tables: Tables, number: int, packed: bytes) -> None:
    """Warm a revision and say how it went. A fault of ours is told, too: somebody waits for the answer."""
    try:
        bound = await tables.warm(number, await asyncio.to_thread(unpack_routes, packed))
        refused = dict(bound.refused)
    except Exception as error:
        LOG.exception("revision %d could not be warmed", number)
        refused = {"this worker": f"{type(error).__name__}: {error}"}
    if refused:
        await tables.discard(number)
    link.send(Warmed(number, refused))


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
    soon = asyncio.get_running_loop().call_soon
    recorder = Recorder(log=log, metrics=metrics, tracing=tracing, soon=soon)
    metrics.watch_recorder(lambda: recorder.failed_n)
    tallies = Tallies()
    metrics.watch_evidence(lambda: {"failed": tallies.failed_n, "untaken": tallies.dropped_n})
    return Observers(metrics, log, tracing, recorder, tallies)


def _close_observers(observers: Observers) -> None:
    observers.tracing.close()
    observers.log.close()


def _stop_signal() -> asyncio.Event:
    """Set by the first signal. An order to stop sets it too, and a signal that comes after it is still the first."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        stopped.set()
        for number in numbers:  # asked twice: whoever asks will not wait for a drain
            loop.add_signal_handler(number, os._exit, 1)

    for number in numbers:
        loop.add_signal_handler(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # sent to the whole group when a terminal goes; control decides
    return stopped
