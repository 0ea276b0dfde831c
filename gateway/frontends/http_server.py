"""The HTTP server: listens, keeps the time that answers bear, looks after its connections, and takes leave of them."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from email.utils import formatdate

from gateway.frontends.binding import BACKLOG, bind
from gateway.frontends.http_connection import HEAD_S, WRITE_S, App, Connection, Hall

SWEEP_S = 1.0
LAST_WORDS_S = 1.0  # for requests cut off at the end of a drain to be answered and recorded


def _ignore(_code: str) -> None:
    return


class HttpServer:
    """Listens from `start` to `stop`."""

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        refused: Callable[[str], None] = _ignore,
    ) -> None:
        """`port` 0 takes any that is free; without `tls` it is plain; `refused` counts what `app` never sees."""
        self._host = host
        self._wanted = port
        self._tls = tls
        self._hall = Hall(app, refused)
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self.port = 0  # the one it listens on, once started

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Everyone who is connected."""
        return tuple(self._hall.connections)

    async def start(self, listening: socket.socket | None = None) -> None:
        """Listen, by default on a socket of its own: raises PortInUse, or OSError for an address that cannot be had."""
        listening = listening or bind(self._host, self._wanted, "HTTP")
        self.port = listening.getsockname()[1]
        self._hall.set_date(formatdate(usegmt=True))
        self._server = await self._accept(listening)
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self, drain_s: float) -> None:
        """Accept nothing new, give what is under way `drain_s` seconds, then cut it off with a 503."""
        if self._server is None or self._sweeping is None:
            return
        self._server.close()
        self._hall.is_closing = True
        late = await self._drain(drain_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=LAST_WORDS_S)
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)
        for connection in self.connections:
            connection.transport.close()
        self._server = None

    async def _drain(self, drain_s: float) -> set[asyncio.Task[None]]:
        """Let everyone have the answers they are owed; those who are still owed some when time is up."""
        loop = asyncio.get_running_loop()
        until = loop.time() + drain_s
        while True:  # again and again: a connection may have been accepted while the others were told
            owed = {task for connection in self.connections if (task := connection.close_when_idle())}
            left_s = until - loop.time()
            if not owed or left_s <= 0:
                return owed
            await asyncio.wait(owed, timeout=min(left_s, SWEEP_S))

    async def _accept(self, listening: socket.socket) -> asyncio.Server:
        loop, hall = asyncio.get_running_loop(), self._hall

        def connect() -> Connection:
            return Connection(hall, loop)

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
            self._hall.set_date(formatdate(usegmt=True))
            for connection in self.connections:
                connection.sweep(loop.time())
