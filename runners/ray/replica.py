"""A replica: what Ray Serve starts, watches and ends. Callers come over its hop; Serve sees none of them."""

import asyncio
import os
import tempfile
import threading
from pathlib import Path
from time import sleep
from typing import Any

import msgspec
from msgspec.structs import replace

from runners.embedded import Embedded
from runners.ray.clerk import fetched, open_clerk
from runners.ray.members import Address, Member, State
from runners.ray.parcel import Parcel, cache_folder, unpack
from runners.ray.serving import Hop, serve_hop
from runners.ray.settings import Listen, Tls
from runners.ray.wanted import path_of

SECRET_VARIABLE = "TURNOUT_HOP_SECRET_FILE"  # noqa: S105 - the variable's name
TLS_VARIABLES = ("TURNOUT_HOP_CA_FILE", "TURNOUT_HOP_CERT_FILE", "TURNOUT_HOP_KEY_FILE")
HOST_VARIABLE = "TURNOUT_HOP_HOST"  # by default the node's address
FETCH_S = 120.0
BEGIN_S = 30.0  # for the clerk to be made
POST_S = 1.0
DRAIN_S = 15.0  # below Serve's own limit for an end


class Replica:
    """One process that holds one model. Made by Ray Serve, which calls the methods by their names."""

    def __init__(self, packed: bytes) -> None:
        """`packed` is the parcel. Raises LoadRefused and whatever keeps a model from being opened here."""
        import ray  # noqa: PLC0415 - the agent imports this module before it may import ray
        from ray import serve  # noqa: PLC0415

        parcel = msgspec.msgpack.decode(packed, type=Parcel, dec_hook=path_of)
        context = serve.get_replica_context()
        assert parcel.model.hosting is not None
        self._clerk: Any = open_clerk()
        name = f"{context.replica_id.unique_id}"
        node: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._member = Member(parcel.model.hosting.key, name, Address(), node, State.STARTING)
        self._ends = threading.Event()
        threading.Thread(target=self._go_on_posting, name="turnout-post", daemon=True).start()
        try:
            sleep(ray.get(self._clerk.begin.remote(self._member), timeout=BEGIN_S))
            self._hop: Hop = self._serve(parcel)
        except BaseException:
            self._ends.set()
            raise
        self._member = replace(self._member, address=self._hop.address, state=State.READY)
        self._post()

    def _serve(self, parcel: Parcel) -> Hop:
        model = unpack(parcel, lambda file: fetched(self._clerk, file, FETCH_S), cache_folder())
        name, node = self._member.replica, self._member.node
        listen = Listen(
            replica=name,
            secret=Path(os.environ[SECRET_VARIABLE]),
            unix=_socket_file(name),
            host=os.environ.get(HOST_VARIABLE) or node,
            tls=_tls(),
        )
        return serve_hop(lambda: Embedded().open(model), listen)

    def __call__(self) -> str:
        """Only ever called to wake an application that has no replica."""
        return self._member.replica

    def describe(self) -> bytes:
        """What the model is, for whoever has a handle alone."""
        return msgspec.json.encode(self._hop.description)

    async def answer_bundle(self, bundle: bytes) -> bytes:
        """Requests of a detour (runners/ray/detour.py)."""
        return await self._hop.answer_bundle(bundle)

    def check_health(self) -> None:
        """Asked by Serve every second; raising has the replica replaced."""
        fault = self._hop.fault()
        if fault:
            raise RuntimeError(fault)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What runners/ray/scaling.py goes by."""
        return {"hop_open": float(self._hop.open_n)}

    async def __del__(self) -> None:
        """Awaited by Serve before the process ends: send callers away, wait for those who stay."""
        self._ends.set()
        self._member = replace(self._member, state=State.DRAINING)
        self._post()
        await asyncio.to_thread(self._hop.drain, DRAIN_S)
        self._member = replace(self._member, state=State.GONE)
        self._post()
        await asyncio.to_thread(self._hop.close)

    def _post(self) -> None:
        self._clerk.post.remote(self._member)

    def _go_on_posting(self) -> None:
        while not self._ends.wait(POST_S):
            try:
                self._post()
            except Exception:  # noqa: BLE001 - the clerk has gone with its node; there is a new one, or will be
                self._clerk = _clerk_or(self._clerk)


def _clerk_or(known: Any) -> Any:
    try:
        return open_clerk()
    except Exception:  # noqa: BLE001 - the cluster has no head at the moment
        return known


def _socket_file(name: str) -> str:
    """For gateways on the same machine; only this user may connect."""
    folder = Path(tempfile.gettempdir()) / f"turnout-hop-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder / f"{name}.sock")


def _tls() -> Tls | None:
    ca, cert, key = (os.environ.get(name) for name in TLS_VARIABLES)
    if not cert:
        return None
    return Tls(ca=Path(ca) if ca else None, cert=Path(cert), key=Path(key) if key else None)
