"""The composition root of the control process."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable

from msgspec import Struct

from gateway.control.crew import Crew, StartFailed
from gateway.control.doors import Doors
from gateway.control.scrape import Scrape
from gateway.control.worker import start_worker
from gateway.event_log import open_event_log
from gateway.frontends.asgi_server import AsgiServer
from gateway.handover import Launch, pack
from gateway.link import Ready
from observability.metrics import metrics_app

LOG = logging.getLogger("turnout")
SCRAPE_GRACE_S = 1.0


class Ports(Struct, frozen=True):
    """Where to listen. 0 takes any port that is free."""

    http: int
    grpc: int
    metrics: int


async def control(launch: Launch, ports: Ports) -> int:
    """Run a gateway until SIGTERM or SIGINT; returns its exit status. A second signal ends it at once.

    Raises PortInUse, StartFailed, OSError, or ValueError for a state directory that cannot be used.
    """
    doors = Doors(launch.host, ports.http, ports.grpc, launch.workers_n)
    try:
        _, log = open_event_log(launch)
    except BaseException:
        doors.close()
        raise
    packed = pack(launch)
    crew = Crew(launch.workers_n, lambda slot: start_worker(slot, packed, doors), doors.renew, log.offer)
    scrape = Scrape(crew, log.counts)
    scraped = AsgiServer(metrics_app(scrape.gather), launch.host, ports.metrics, "metrics")
    stopped = _stop_signal(crew)
    try:
        await scraped.start()
        served = await _unless(stopped, crew.start())
        if served is None:
            return 0
        _announce(served, launch, doors, scraped.port)
        pulse = asyncio.create_task(scrape.pulse())
        await stopped.wait()
        pulse.cancel()
        LOG.info("stopping: requests under way have %g s to finish", launch.drain_s)
        doors.close()
        return 0 if await crew.stop(launch.drain_s) else 1
    finally:
        doors.close()
        crew.kill()
        await scraped.stop(SCRAPE_GRACE_S)
        await asyncio.to_thread(log.close)


async def _unless(stopped: asyncio.Event, starting: Awaitable[Ready]) -> Ready | None:
    """What is served, None if somebody asked to stop before it was."""
    start, stop = asyncio.ensure_future(starting), asyncio.ensure_future(stopped.wait())
    await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if start.done():
        return start.result()
    start.cancel()
    return None


def _announce(served: Ready, launch: Launch, doors: Doors, metrics_port: int) -> None:
    host, secure = launch.host, "s" if launch.tls else ""
    LOG.info(
        "serving %s at http%s://%s:%d, grpc%s://%s:%d, metrics http://%s:%d/metrics%s",
        ", ".join(served.served) or "nothing",
        *(secure, host, doors.http_port),
        *(secure, host, doors.grpc_port),
        *(host, metrics_port),
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
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    return stopped


__all__ = ["Ports", "StartFailed", "control"]
