"""Detours: hops of the agent's own, by which replicas are asked through Serve's handles where no socket reaches them.

    gateway ═ hop ═► agent ── a bundle, by the application's handle ──► a replica that Serve chooses

It is the dear way: a millisecond a message, through two processes of Ray, and gone with the agent. So it is listed as a
detour, which is taken only while no replica of the arm can be reached otherwise.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from runners.core.runner import Description
from runners.ray.bundle import BundledEndpoint
from runners.ray.members import Member
from runners.ray.serving import Hop, serve_hop
from runners.ray.settings import Listen

LOG = logging.getLogger("turnout.agent")
DESCRIBED_S = 10.0
AGAIN_S = 5.0  # before one that could not be opened is tried again
# Beyond it a message goes by Ray's object store: what goes straight from handle to replica has 4 MiB at most.
STRAIGHT_BYTES = 2 << 20


class Detours:
    """Opened in a thread of their own, one after the other, for a handle may take its time. `handle_of` gives the Serve
    handle of an application, whose replicas have the methods `describe` and `answer_bundle`.
    """

    def __init__(
        self, secret: Path, folder: Path, handle_of: Callable[[str], Any], *, again_s: float = AGAIN_S
    ) -> None:
        self._secret = secret
        self._folder = folder
        self._handle_of = handle_of
        self._again_s = again_s
        self._opening: dict[str, Future[Hop]] = {}
        self._not_before: dict[str, float] = {}  # those that could not be opened
        self._opener = ThreadPoolExecutor(1, "turnout-detour")

    def members(self, running: Mapping[str, str]) -> tuple[Member, ...]:
        """Detours to these applications, name -> arm key, as far as they are open; those to all others are closed."""
        for name in self._opening.keys() - running.keys():
            self._opener.submit(_close, self._opening.pop(name))
        for name in running.keys() - self._opening.keys():
            if monotonic() >= self._not_before.get(name, 0.0):
                self._opening[name] = self._opener.submit(self._open, name)
        for name, opening in list(self._opening.items()):
            if opening.done() and (error := opening.exception()) is not None:
                LOG.warning("there is no detour to %s: %s", name, error)
                del self._opening[name]
                self._not_before[name] = monotonic() + self._again_s
        return tuple(
            [
                Member(running[name], _replica(name), opening.result().address, is_detour=True)
                for name, opening in self._opening.items()
                if opening.done()
            ]
        )

    def close(self) -> None:
        self.members({})
        self._opener.shutdown()

    def _open(self, name: str) -> Hop:
        handle = self._handle_of(name)
        told: bytes = handle.describe.remote().result(timeout_s=DESCRIBED_S)
        description = msgspec.json.decode(told, type=Description)
        send = _sender(handle)

        async def endpoint() -> BundledEndpoint:
            return BundledEndpoint(description, send, _is_up)

        return serve_hop(endpoint, Listen(_replica(name), self._secret, unix=str(self._folder / f"{name}.sock")))


def _sender(handle: Any) -> Callable[[bytes], Awaitable[bytes]]:
    by_store = handle.options(method_name="answer_bundle")
    straight = handle.options(method_name="answer_bundle", _by_reference=False)

    async def send(bundle: bytes) -> bytes:
        return await (straight if len(bundle) <= STRAIGHT_BYTES else by_store).remote(bundle)  # type: ignore[no-any-return]

    return send


def _replica(name: str) -> str:
    return f"detour-{name}"


def _is_up() -> bool:
    """While it is listed, Serve says that there are replicas; where there are none, a message's deadline tells."""
    return True


def _close(opening: Future[Hop]) -> None:
    if opening.exception() is None:
        opening.result().close()
