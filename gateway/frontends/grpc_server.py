"""The gRPC server: our own HTTP/2 inside a loop that already runs, with health checks and reflection."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.frontends.binding import BACKLOG, bind
from gateway.frontends.grpc_call import Call, Method
from gateway.frontends.grpc_documents import GrpcMethods
from gateway.frontends.grpc_health import Health
from gateway.frontends.grpc_protocol import HEAD_S, WRITE_S, GrpcProtocol
from gateway.frontends.grpc_reflection import Reflection
from gateway.frontends.limits import Limits
from gateway.frontends.readiness import Readiness
from gateway.frontends.status import Refusal

SWEEP_S: Final = 1.0
LAST_WORDS_S: Final = 1.0  # for calls cut off at the end of a drain to be answered and recorded


class GrpcServer:
    """Listens from `start` to `stop`. It is the `Host` of its connections."""

    def __init__(
        self,
        methods: GrpcMethods,
        readiness: Readiness,
        address: tuple[str, int],
        limits: Limits,
        *,
        refused: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """A port of 0 takes any that is free; without `tls` it is plain; `refused` counts what never becomes a call."""
        self.limits = limits
        self.calls_n = 0
        self.connections: set[GrpcProtocol] = set()
        self.count_refused = refused
        self.port = 0  # the one it listens on, once started
        self._methods = methods
        self._health = Health(readiness)
        self._others = {**self._health.methods(), **Reflection().methods()}
        self._address = address
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._emptied = asyncio.Event()  # there is no connection any more
        self._sweeping: asyncio.Task[None] | None = None

    def method(self, path: str) -> Method:
        return self._others.get(path) or self._methods.find(path)

    def turn_away(self, error: Exception, call: Call) -> Refusal:
        return self._methods.turn_away(error, call)

    async def start(self, listening: socket.socket | None = None) -> None:
        """Listen, by default on a socket of its own: raises PortInUse, or OSError for an address that cannot be had."""
        listening = listening or bind(*self._address, "gRPC")
        self.port = listening.getsockname()[1]
        loop = asyncio.get_running_loop()
        if self._tls is None:
            self._server = await loop.create_server(lambda: GrpcProtocol(self), sock=listening, backlog=BACKLOG)
        else:
            self._server = await loop.create_server(
                lambda: GrpcProtocol(self),
                sock=listening,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=HEAD_S,
                ssl_shutdown_timeout=WRITE_S,
            )
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self, drain_s: float) -> None:
        """Say NOT_SERVING, accept nothing new, give what is under way `drain_s` seconds, then cancel it."""
        if self._server is None or self._sweeping is None:
            return
        self._server.close()
        self._server = None
        self._health.end()
        for connection in list(self.connections):
            connection.leave()
        await self._until_empty(drain_s)
        for connection in list(self.connections):
            connection.cancel()
        await self._until_empty(LAST_WORDS_S)
        for connection in list(self.connections):
            connection.close()
        await self._until_empty(LAST_WORDS_S)
        for connection in list(self.connections):
            connection.abort()
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)

    def joined(self, connection: GrpcProtocol) -> None:
        self.connections.add(connection)

    def left(self, connection: GrpcProtocol) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._emptied.set()

    async def _until_empty(self, limit_s: float) -> None:
        if self.connections:
            self._emptied.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), limit_s)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for connection in list(self.connections):
                connection.sweep(loop.time())
