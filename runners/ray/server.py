"""The replica's side of the hop on an event loop: an endpoint, its listeners, and all connections to it.

Batching is not done here: an endpoint that batches sees the calls of all gateways and makes of them what it will.
"""

import asyncio
import logging
import os
import socket
import stat
from contextlib import suppress
from time import monotonic

from runners.core.batching import Batches
from runners.core.errors import LoadRefused
from runners.core.runner import Endpoint
from runners.ray.connection import Connection, HopCounts
from runners.ray.greeting import Secret, Welcome
from runners.ray.members import Address
from runners.ray.settings import Listen, server_context
from runners.ray.tensors import Wire

LOG = logging.getLogger("turnout.hop")
BEAT_S = 0.25
_PATH_BYTES = 107  # what Linux takes as the name of a socket
_BACKLOG_N = 128


class HopServer:
    """Answers for `endpoint`, which stays the caller's to close. Created and used on one event loop."""

    def __init__(self, endpoint: Endpoint, listen: Listen) -> None:
        """Blocks on the disk. Raises LoadRefused for a secret that cannot be used."""
        self.endpoint = endpoint
        self.wire = Wire(endpoint.description.signature)
        self.secret = Secret(listen.secret)
        self.welcome = Welcome(listen.replica, endpoint.description)
        self.counts = HopCounts()
        self.calls_most_n = listen.calls_n
        self.greeting_s = listen.greeting_s
        self.open_n = 0
        self.is_draining = False
        self.beat_at = monotonic()  # when the loop was last seen turning
        self.address = Address()
        self._listen = listen
        self._inode = 0  # of the socket file that is ours
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._all_left = asyncio.Event()
        self._beating: asyncio.TimerHandle | None = None

    @property
    def waiting_n(self) -> int:
        """Calls under way that wait for the model, where it says so."""
        return self.endpoint.batch_counts.waiting_n if isinstance(self.endpoint, Batches) else 0

    async def start(self) -> Address:
        """Listen. Raises LoadRefused when an address cannot be had."""
        listen, loop = self._listen, asyncio.get_running_loop()
        if not (listen.unix or listen.host):
            raise LoadRefused(listen.replica, "listens nowhere", "give a socket file or a host")
        port = 0
        try:
            if listen.unix:
                self._servers.append(await loop.create_unix_server(self._connect, sock=_bound(listen.unix)))
                self._inode = os.stat(listen.unix).st_ino  # noqa: PTH116
            if listen.host:
                context = server_context(listen.tls) if listen.tls else None
                server = await loop.create_server(
                    self._connect, listen.host, listen.port, ssl=context, backlog=_BACKLOG_N
                )
                self._servers.append(server)
                port = server.sockets[0].getsockname()[1]
        except (OSError, LoadRefused) as error:
            await self.close()
            raise LoadRefused(listen.replica, f"cannot listen: {error}") from None
        self.address = Address(listen.unix, listen.host, port)
        self._beat()
        return self.address

    async def drain(self, limit_s: float) -> bool:
        """Take no new callers, ask the present ones to leave, and wait until they have; False if some stay."""
        self.is_draining = True
        self._stop_listening()
        for connection in tuple(self._connections):
            connection.go_away()
        if self._connections:
            self._all_left.clear()
            try:
                async with asyncio.timeout(limit_s):
                    await self._all_left.wait()
            except TimeoutError:
                return False
        return True

    async def close(self) -> None:
        """Hang up on everybody; closing twice is harmless."""
        self._stop_listening()
        if self._beating is not None:
            self._beating.cancel()
        for connection in tuple(self._connections):
            connection.hang_up()
        await asyncio.sleep(0)

    def joined(self, connection: Connection) -> bool:
        strangers_n = sum([not each.is_known for each in self._connections])
        self._connections.add(connection)
        return strangers_n < self._listen.strangers_n

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._all_left.set()

    def _connect(self) -> Connection:
        return Connection(self)

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._inode:
            with suppress(OSError):
                if os.stat(self._listen.unix).st_ino == self._inode:  # noqa: PTH116  not a successor's
                    os.unlink(self._listen.unix)  # noqa: PTH108

    def _beat(self) -> None:
        self.beat_at = monotonic()
        for connection in self._connections:
            connection.beat()
        self._beating = asyncio.get_running_loop().call_later(BEAT_S, self._beat)


def _bound(path: str) -> socket.socket:
    """A socket at `path` that only this user can connect to. What a dead replica left there is taken away."""
    if len(os.fsencode(path)) > _PATH_BYTES:
        raise LoadRefused(f"socket {path}", f"has a name of more than {_PATH_BYTES} bytes", "use a shorter folder")
    with suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116
            os.unlink(path)  # noqa: PTH108
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before it is bound, so that there is no moment in which others may connect.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    return sock
