"""The operator's side as a server of its own: where it listens, what it shows, and whom it serves at all."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from gateway.admin.callers import LOCAL_HOSTS, exposure_problem
from gateway.admin.gate import App
from gateway.frontends.asgi_server import AsgiServer
from gateway.frontends.tls import Certificates
from gateway.handover import Launch
from gateway.publishing.publisher import Publisher
from gateway.state.shelf import Shelf

if TYPE_CHECKING:
    from gateway.admin.logs import Tail

UNHEARD = logging.getLogger("turnout.admin.tls")  # workers tell what becomes of the same files
GRACE_S = 5.0  # for a change under way, which is then stored or is not


class AdminRefused(Exception):
    """The operator's side must not be opened like that."""


@asynccontextmanager
async def open_admin(
    publisher: Publisher, shelf: Shelf, launch: Launch, port: int, version: str, *, tail: "Tail | None" = None
) -> AsyncIterator[AsgiServer]:
    """Listen while the block lasts, plain on this machine alone, else with the gateway's certificate.

    Whoever asks is told from others by a token, and needs no certificate. Raises AdminRefused, TlsRefused, PortInUse,
    or OSError for an address that cannot be had.
    """
    host = launch.admin_host
    problem = await asyncio.to_thread(lambda: exposure_problem(host, has_tls=launch.tls is not None, shelf=shelf))
    if problem:
        raise AdminRefused(problem)
    hosts = LOCAL_HOSTS | {host.lower(), *(name.lower() for name in launch.admin_names)}
    app = await asyncio.to_thread(_app, publisher, shelf, version, hosts, tail)
    UNHEARD.setLevel(logging.CRITICAL)
    certificates = Certificates(replace(launch.tls, client_ca=None), UNHEARD) if launch.tls else None
    server = AsgiServer(app, host, port, "admin", certificates.http_context() if certificates else None)
    await server.start()
    watch = asyncio.create_task(certificates.watch(lambda _told: None)) if certificates else None
    try:
        yield server
    finally:
        if watch:
            watch.cancel()
        await server.stop(GRACE_S)


def _app(publisher: Publisher, shelf: Shelf, version: str, hosts: frozenset[str], tail: "Tail | None") -> App:
    from gateway.admin.api import admin_app  # noqa: PLC0415 - half a second, while the workers start anyway

    return admin_app(publisher, shelf, version, hosts, tail)
