"""The HTTP server: uvicorn inside a loop that already runs, on a socket of our own, without signal handlers."""

import asyncio
import socket
import ssl

import uvicorn

from gateway.frontends.asgi import App
from gateway.frontends.binding import BACKLOG, bind
from gateway.frontends.http_protocol import HEAD_S, WRITE_S, HttpProtocol

KEEP_ALIVE_S = 75  # longer than common proxies keep an idle connection, so that they are the ones to close it
SWEEP_S = 1.0
LAST_WORDS_S = 1.0  # for requests cut off at the end of a drain to be answered and recorded


class HttpServer:
    """Listens from `start` to `stop`."""

    def __init__(
        self, app: App, host: str, port: int, what: str = "HTTP", *, tls: ssl.SSLContext | None = None
    ) -> None:
        """`port` 0 takes any that is free; `what` is named when the port cannot be had; without `tls` it is plain."""
        self._host = host
        self._wanted = port
        self._what = what
        self._tls = tls
        self._server = uvicorn.Server(_config(app))
        self._socket: socket.socket | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._is_stopping = False
        self.port = 0  # the one it listens on, once started

    async def start(self, listening: socket.socket | None = None) -> None:
        """Listen, by default on a socket of its own: raises PortInUse, or OSError for an address that cannot be had."""
        self._socket = listening or bind(self._host, self._wanted, self._what)
        self.port = self._socket.getsockname()[1]
        server = self._server
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        server.servers = [await self._accept(self._socket)]
        server.started = True
        self._ticking = asyncio.create_task(server.main_loop())
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self, drain_s: float) -> None:
        """Accept nothing new, give what is under way `drain_s` seconds, then cut it off with a 503."""
        if self._socket is None or self._ticking is None or self._sweeping is None:
            return
        server = self._server
        self._is_stopping = True
        await _end(self._ticking)
        server.config.timeout_graceful_shutdown = drain_s  # type: ignore[assignment]  # goes to asyncio.wait_for
        await server.shutdown(sockets=[self._socket])
        if server.server_state.tasks:
            await asyncio.wait(server.server_state.tasks, timeout=LAST_WORDS_S)
        await _end(self._sweeping)
        for connection in list(server.server_state.connections):
            connection.transport.close()
        self._socket = None

    async def _accept(self, listening: socket.socket) -> asyncio.Server:
        """What uvicorn does at its start, but with bounds on how long TLS may take to begin and to end."""
        server, loop = self._server, asyncio.get_running_loop()

        def connect() -> HttpProtocol:
            return HttpProtocol(server.config, server.server_state, server.lifespan.state, loop)

        if self._tls is None:
            return await loop.create_server(connect, sock=listening, backlog=BACKLOG)
        return await loop.create_server(
            connect,
            sock=listening,
            backlog=BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=HEAD_S,
            ssl_shutdown_timeout=WRITE_S,
        )

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for connection in list(self._server.server_state.connections):
                assert isinstance(connection, HttpProtocol)
                connection.sweep(loop.time())
                if self._is_stopping:
                    connection.shutdown()  # also one that was accepted while the others were told


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _config(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        loop="none",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # the caller is the peer; who stands behind a proxy is for the proxy to say in a header
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
