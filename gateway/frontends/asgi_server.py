"""A server for ASGI applications that are seldom asked, such as the metrics: uvicorn in a loop that already runs."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from gateway.frontends.binding import BACKLOG, bind

Message = MutableMapping[str, Any]
AsgiApp = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class AsgiServer:
    """Listens from `start` to `stop`, without signal handlers of its own."""

    def __init__(self, app: AsgiApp, host: str, port: int, what: str, tls: ssl.SSLContext | None = None) -> None:
        """`port` 0 takes any that is free; `what` is named when the port cannot be had."""
        self._tls = tls
        self._host = host
        self._wanted = port
        self._what = what
        self._server = uvicorn.Server(_config(app))
        self._socket: socket.socket | None = None
        self._ticking: asyncio.Task[None] | None = None
        self.port = 0  # the one it listens on, once started

    async def start(self) -> None:
        """Listen. Raises PortInUse, or OSError for an address that cannot be had."""
        self._socket = bind(self._host, self._wanted, self._what)
        self.port = self._socket.getsockname()[1]
        server = self._server
        server.config.load()
        server.config.ssl = self._tls
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[self._socket])
        self._ticking = asyncio.create_task(server.main_loop())

    async def stop(self, drain_s: float) -> None:
        """Accept nothing new, and give what is under way `drain_s` seconds."""
        if self._socket is None or self._ticking is None:
            return
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        self._server.config.timeout_graceful_shutdown = drain_s  # type: ignore[assignment]  # goes to asyncio.wait_for
        await self._server.shutdown(sockets=[self._socket])
        self._socket = None


def _config(app: AsgiApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # the caller is the peer; who stands behind a proxy is for the proxy to say in a header
        server_header=False,
        backlog=BACKLOG,
    )
