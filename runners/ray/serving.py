"""A replica's hop in a thread of its own: what a process calls that holds a model and has another loop, or none.

hop = serve_hop(lambda: Embedded().open(model), Listen(replica, secret, unix=path, host=address))
...                                   # hop.address goes to the gateway, hop.fault() to whoever checks health
hop.drain(15); hop.close()
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar

from runners.core.runner import Description, Endpoint
from runners.ray.bundle import answer_bundle
from runners.ray.connection import HopCounts
from runners.ray.members import Address
from runners.ray.server import HopServer
from runners.ray.settings import Listen

T = TypeVar("T")
LOG = logging.getLogger("turnout.hop")
SILENT_S = 3.0  # a loop that has not turned for so long is not just busy
_CLOSE_S = 10.0


class Hop:
    """A replica that answers. All methods may be called from any thread but the hop's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, server: HopServer) -> None:
        self._loop = loop
        self._thread = thread
        self._server = server

    @property
    def address(self) -> Address:
        return self._server.address

    @property
    def description(self) -> Description:
        return self._server.endpoint.description

    @property
    def counts(self) -> HopCounts:
        return self._server.counts

    @property
    def open_n(self) -> int:
        """Calls waiting or under way, of all gateways: what scaling goes by."""
        return self._server.open_n

    def fault(self) -> str:
        """What is wrong with this replica, so that it should be replaced; "" if nothing is."""
        if not self._thread.is_alive():
            return "the hop has ended"
        silent_s = monotonic() - self._server.beat_at
        if silent_s > SILENT_S:
            return f"the hop has not turned for {silent_s:.1f} s"
        return "" if self._server.endpoint.ready() else "the model is not ready"

    async def answer_bundle(self, bundle: bytes) -> bytes:
        """The answers to a bundle that came another way than by the socket. May be awaited on any loop."""
        server = self._server
        answering = answer_bundle(server.endpoint, server.wire, bundle)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answering, self._loop))

    def drain(self, limit_s: float) -> bool:
        """Send callers away and wait until all have left; False if some stay after `limit_s`. Blocks."""
        return self._ask(self._server.drain(limit_s), limit_s + _CLOSE_S)

    def close(self) -> None:
        """Hang up, close the model, end the thread. Blocks; closing twice is harmless."""
        if not self._thread.is_alive():
            return
        self._ask(_close(self._server), _CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)

    def _ask(self, coroutine: Coroutine[Any, Any, T], limit_s: float) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(limit_s)


def serve_hop(open_endpoint: Callable[[], Awaitable[Endpoint]], listen: Listen) -> Hop:
    """Open a model and answer for it; returns when callers may come. Blocks.

    `open_endpoint` is awaited on the hop's own loop, where the endpoint is used ever after. Raises whatever it raises,
    and LoadRefused for an address or a secret that cannot be used.
    """
    loop = _new_loop()
    thread = threading.Thread(target=_turn, args=(loop,), name="turnout-hop", daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(_start(open_endpoint, listen), loop).result()
    except BaseException:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_S)
        raise
    return Hop(loop, thread, server)


async def _start(open_endpoint: Callable[[], Awaitable[Endpoint]], listen: Listen) -> HopServer:
    endpoint = await open_endpoint()
    try:
        server = HopServer(endpoint, listen)
        await server.start()
    except BaseException:
        await endpoint.close()
        raise
    return server


async def _close(server: HopServer) -> None:
    await server.close()
    await server.endpoint.close()


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """Uvloop's where it is installed: it halves what a small call costs."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        LOG.warning("uvloop is not installed: the hop is slower than it could be")
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
