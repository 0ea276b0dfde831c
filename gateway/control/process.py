"""The composition root of the control process."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import time
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from gateway.admin.server import open_admin
from gateway.arms import ArmSeen
from gateway.config.compiled import CompiledRoute
from gateway.control.bookkeeper import Bookkeeper
from gateway.control.boot import Offer, boot
from gateway.control.clicks import ClickDesk, feedback_secret
from gateway.control.cluster import Cluster
from gateway.control.conductor import Conductor
from gateway.control.crew import Crew, StartFailed
from gateway.control.deaths import Blamed, blamed
from gateway.control.doors import Doors
from gateway.control.fleet import Fleet
from gateway.control.hosts import Hosts, open_hosts
from gateway.control.notices import Notices
from gateway.control.scrape import Scrape
from gateway.control.sight import seen_arms
from gateway.control.vigil import Vigil
from gateway.control.worker import Worker, start_worker
from gateway.event_log import open_event_log
from gateway.frontends.asgi_server import AsgiServer
from gateway.handover import Launch
from gateway.link import Ready
from gateway.publishing.publisher import Publisher
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from observability.event import Identity, LifeEvent
from observability.metrics import metrics_app
from observability.sinks.log import EventLog
from runners.core.thread import nice_this_thread

T = TypeVar("T")
LOG = logging.getLogger("turnout")
SCRAPE_GRACE_S = 1.0
NICENESS = 10


class Ports(Struct, frozen=True):
    """Where to listen. 0 takes any port that is free."""

    http: int
    grpc: int
    metrics: int
    admin: int


async def control(
    launch: Launch, ports: Ports, shelf: Shelf, offer: Offer, hosts: Hosts | None = None, *, is_watching: bool = False
) -> int:
    """Run a gateway until SIGTERM or SIGINT; returns its exit status. A second signal ends it at once.

    `launch` says how to serve, the state or the offer what; `hosts` is where arms may run elsewhere. Raises PortInUse,
    StartFailed, BootRefused, AdminRefused, ConfigRefused, ChangeRefused, StateError, LocalRayFailed, OSError, or
    ValueError for a state directory that cannot be used.
    """
    async with open_hosts(hosts, launch) as (hosted, cluster):
        return await _govern(hosted, ports, shelf, offer, cluster, is_watching=is_watching)


async def _govern(
    launch: Launch, ports: Ports, shelf: Shelf, offer: Offer, cluster: Cluster | None, *, is_watching: bool
) -> int:
    doors, identity, log, launch = await _open(launch, ports, shelf)
    fleet, desk = Fleet(launch, cluster), ClickDesk(shelf, launch.feedback_window_s)
    publisher = Publisher(shelf, offer.folder or Path.cwd(), fleet, tell=partial(_tell, log))
    vigil = Vigil(publisher, shelf, offer, f"{identity.host}:{doors.http_port}", cluster, is_watching=is_watching)
    books = Bookkeeper(shelf, vigil.me, lambda: publisher.meaning.experiments, partial(_blamed, publisher))
    crew = Crew(launch.workers_n, partial(_start, fleet, doors, desk, books), doors.renew, log.offer, fleet.join)
    conductor = Conductor(publisher, shelf, vigil.me, Notices(offer.receivers))
    vigil.arms = partial(_seen, fleet, crew, cluster)
    scrape = Scrape(crew, log.counts, lambda: books.lost_n, conductor.notices.counts, vigil.arms)
    stopped = _stop_signal(crew)
    try:
        works = books.keep(), *desk.works()
        async with _scraping(scrape, launch.host, ports.metrics) as metrics_port, _beside(*works):
            await boot(publisher, shelf, offer, vigil.me)
            await _unless(stopped, fleet.settle())
            starting = _begin(crew, fleet, publisher.meaning.routes.values())
            version, tail = identity.code_version, cluster.tail if cluster else None
            async with open_admin(publisher, shelf, launch, ports.admin, version, tail=tail) as admin:
                served = await _unless(stopped, starting)
                if served is None:
                    return 0
                fleet.lead(crew)
                _announce(served, launch, (doors.http_port, doors.grpc_port, metrics_port, admin.port))
                await _until(stopped, vigil, conductor)
                LOG.info("stopping: requests under way have %g s to finish", launch.drain_s)
                doors.close()
                fleet.close()
                stopping = asyncio.create_task(crew.stop(launch.drain_s))  # before all else: it ends replacing
            has_ended_well = await stopping
            for each in (books, conductor, vigil):
                await each.leave()
            return 0 if has_ended_well else 1
    finally:
        doors.close()
        crew.kill()
        await asyncio.to_thread(shelf.close)
        await asyncio.to_thread(log.close)


async def _open(launch: Launch, ports: Ports, shelf: Shelf) -> tuple[Doors, Identity, EventLog, Launch]:
    """The ports, the log that is written to from the first moment on, and the launch that signs feedback."""
    _step_back()
    doors = Doors(launch.host, ports.http, ports.grpc, launch.workers_n)
    try:
        identity, log = open_event_log(launch)
        secret = await asyncio.to_thread(feedback_secret, shelf, launch.state)
        return doors, identity, log, replace(launch, feedback_secret=secret)
    except BaseException:
        doors.close()
        raise


async def _start(fleet: Fleet, doors: Doors, desk: ClickDesk, books: Bookkeeper, slot: int) -> Worker:
    worker = await books.watch(start_worker(slot, fleet.launch, doors, desk.take))
    worker.on_missed = fleet.wake
    return worker


def _blamed(publisher: Publisher, ran: frozenset[bytes]) -> tuple[Blamed, ...]:
    """Whom the end of a worker speaks against that ran these models."""
    meaning = publisher.meaning
    return blamed(meaning.routes.values(), meaning.number, ran)


def _seen(fleet: Fleet, crew: Crew, cluster: Cluster | None) -> tuple[ArmSeen, ...]:
    workers = [worker for worker in crew.workers if worker.is_up]
    told = [worker.snapshot for worker in workers], [worker.readings for worker in workers]
    return seen_arms(fleet.routes, *told, cluster)


def _step_back() -> None:
    """Have what parses, compiles and stores leave the cores to those who answer. Workers are started from the loop."""
    niced = ThreadPoolExecutor(initializer=partial(nice_this_thread, NICENESS))
    asyncio.get_running_loop().set_default_executor(niced)


def _begin(crew: Crew, fleet: Fleet, routes: Iterable[CompiledRoute]) -> "asyncio.Task[Ready]":
    """The start of all workers. If something else is refused meanwhile, nobody asks any more how this went."""
    _warn(routes)
    fleet.expect()
    starting = asyncio.create_task(crew.start())
    starting.add_done_callback(lambda task: task.cancelled() or task.exception())
    return starting


@asynccontextmanager
async def _scraping(scrape: Scrape, host: str, port: int) -> AsyncIterator[int]:
    """The port on which metrics can be asked for, as long as the block lasts."""
    server = AsgiServer(metrics_app(scrape.gather), host, port, "metrics")
    await server.start()
    try:
        async with _beside(scrape.pulse()):
            yield server.port
    finally:
        await server.stop(SCRAPE_GRACE_S)


async def _until(stopped: asyncio.Event, vigil: Vigil, conductor: Conductor) -> None:
    async with _beside(vigil.keep(), conductor.keep(), conductor.notices.keep()) as beside:
        if vigil.has_directory:
            _on_hangup(stopped, lambda: beside.create_task(vigil.take(Cause.SIGNAL)))
        await stopped.wait()


class _Beside:
    """What goes on while a gateway serves, until the block is left."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def create_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("a task of the control process has failed", exc_info=error)


@asynccontextmanager
async def _beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[_Beside]:
    beside = _Beside()
    for work in works:
        beside.create_task(work)
    try:
        yield beside
    finally:
        await beside.cancel()


def _warn(routes: Iterable[CompiledRoute]) -> None:
    for route in routes:
        if route.notice:
            LOG.warning("route %s %s", route.name, route.notice)


def _tell(log: EventLog, kind: str, message: str, revision: int) -> None:
    LOG.log(
        logging.INFO if kind in ("revision_published", "revision_followed") else logging.WARNING,
        "%s: %s",
        kind,
        message,
    )
    log.offer(LifeEvent(time(), kind, "", "", message, revision))


def _on_hangup(stopped: asyncio.Event, take: Callable[[], None]) -> None:
    """Read the directory again when told to, as daemons do; stop when it is the terminal that has hung up."""
    had_terminal = _has_terminal()

    def hear() -> None:
        if had_terminal and not _has_terminal():
            stopped.set()
        else:
            take()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hear)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _unless(stopped: asyncio.Event, starting: Awaitable[T]) -> T | None:
    """What comes of it, None if somebody asked to stop before it did."""
    start, stop = asyncio.ensure_future(starting), asyncio.ensure_future(stopped.wait())
    await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if start.done():
        return start.result()
    start.cancel()
    return None


def _announce(served: Ready, launch: Launch, ports: tuple[int, int, int, int]) -> None:
    host, secure = launch.host, "s" if launch.tls else ""
    http, grpc, metrics, admin = ports
    LOG.info(
        "serving %s at http%s://%s:%d, grpc%s://%s:%d, metrics http://%s:%d/metrics, admin http%s://%s:%d%s",
        ", ".join(served.served) or "nothing",
        *(secure, host, http),
        *(secure, host, grpc),
        *(host, metrics),
        *(secure, launch.admin_host, admin),
        f", {launch.workers_n} workers" if launch.workers_n > 1 else "",
    )
    for name, reason in served.quarantined.items():
        LOG.error("route %s is not served: %s", name, reason)


def _stop_signal(crew: Crew) -> asyncio.Event:
    stopped = asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            crew.kill()
            os._exit(1)  # asked twice: whoever asks will not wait for a drain
        stopped.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # who hangs up before anything is served wants out
        loop.add_signal_handler(number, stop)
    return stopped


__all__ = ["Ports", "StartFailed", "control"]
