"""Replicas in this process, on sockets of their own, and endpoints that know them."""

import asyncio
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from runners.core.runner import Description
from runners.core.tensor import InferenceRequest, Signature, Tensor, TensorSpec
from runners.fake import Compute, FakeEndpoint
from runners.ray import greeting
from runners.ray.endpoint import HopEndpoint
from runners.ray.frame import Frame, Type, frame
from runners.ray.members import Address, Member, Membership, State
from runners.ray.server import HopServer
from runners.ray.settings import Dial, Listen, Pace, Tls
from runners.ray.tensors import Wire

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 1)), TensorSpec("n", "INT64", (-1,)))
)
# Nobody is taken for lost because the machine is busy; tests that are about silence set their own.
PATIENT = Pace(silent_s=60.0, greeting_s=60.0, retry_s=0.01, retry_most_s=0.05)


def sums(request):
    x = request.inputs[0].array
    outputs = Tensor("y", "FP32", x.sum(1, keepdims=True)), Tensor("n", "INT64", np.full(len(x), 7, "<i8"))
    return tuple(t for t in outputs if not request.outputs or t.name in request.outputs)


def described(signature=SIGNATURE, digest="f" * 64):
    return Description(signature, "turnout_fake", "1", digest, "cpu")


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"of sixteen bytes or more")
    return file


@pytest.fixture
async def replica(tmp_path, secret):
    """Starts a replica around an endpoint, the sums of rows unless told; gives the server."""
    started = []
    names = (f"r{n}" for n in count())

    async def start(endpoint=None, **how) -> HopServer:
        name = how.pop("replica", None) or next(names)
        listen = Listen(name, secret, **{"unix": str(tmp_path / f"{name}.sock"), **how})
        server = HopServer(endpoint or FakeEndpoint(SIGNATURE, [Compute(sums)]), listen)
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        await server.close()


def member(server: HopServer, state=State.READY, address: Address | None = None) -> Member:
    return Member("arm", server.welcome.replica, address or server.address, "node-1", state)


@pytest.fixture
async def hop(secret) -> Callable[..., HopEndpoint]:
    """An endpoint that knows these replicas, once one is live."""
    made = []

    async def make(*servers, **how) -> HopEndpoint:
        endpoint = HopEndpoint("arm", Dial(**{"secret": secret, "pace": PATIENT, **how}))
        made.append(endpoint)
        endpoint.update(Membership(1, tuple(map(member, servers))))
        if servers:
            await endpoint.greeted(60)
        return endpoint

    yield make
    for endpoint in made:
        await endpoint.close()


class Raw:
    """A gateway by hand, which says what the test wants."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    async def frame(self) -> Frame:
        """The next frame; raises IncompleteReadError once the replica has hung up."""
        length = int.from_bytes(await self._reader.readexactly(4), "little")
        body = await self._reader.readexactly(length)
        return Frame(*struct.unpack_from("<BBHIII", body), body=body)

    async def frame_of(self, kind: Type) -> Frame:
        while (received := await self.frame()).type != kind:
            pass
        return received

    async def rest(self) -> bytes:
        """All until the replica hangs up."""
        return await self._reader.read()

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def greet(self, key: bytes = b"of sixteen bytes or more", ours: bytes = b"g" * 32) -> Frame:
        theirs = greeting.read_hello(await self.frame())
        self.say(frame(Type.AUTH, greeting.auth(key, theirs, ours)))
        return await self.frame()

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def call_up():
    """Connects to a replica's socket file, by hand."""
    made = []

    async def connect(server: HopServer, *, greet: bool = True) -> Raw:
        raw = Raw(*await asyncio.open_unix_connection(server.address.unix))
        made.append(raw)
        if greet:
            assert Type.OK == (await raw.greet()).type
        return raw

    yield connect
    for raw in made:
        raw.close()


def ask_for(x, outputs=()):
    return InferenceRequest("m", (Tensor("x", "FP32", np.asarray(x, "<f4")),), outputs)


def req(id_, x=((1, 2, 3, 4),), left_ms=60_000) -> bytes:
    """A REQ by hand."""
    return b"".join(Wire(SIGNATURE).request(ask_for(x), id_, left_ms))


async def until(condition: Callable[[], object]) -> None:
    """Wait for it; the test's own limit ends what never comes."""
    while not condition():
        await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def hand():
    """The words above, for tests: modules here are not packages."""
    return SimpleNamespace(
        ask_for=ask_for,
        req=req,
        until=until,
        member=member,
        described=described,
        sums=sums,
        signature=SIGNATURE,
        patient=PATIENT,
    )


@dataclass
class Certificates:
    """An authority, and what it signed."""

    folder: Path
    ca: Path = field(init=False)

    def __post_init__(self):
        self.ca = self.folder / "ca.pem"
        self._run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca"
        )

    def signed(self, name: str) -> Tls:
        self._run(
            f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN=x"
        )
        (self.folder / "ext").write_text(f"subjectAltName=DNS:{name}")
        self._run(f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out {name}.pem")
        return Tls(self.ca, self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def another(self) -> "Certificates":
        """An authority that has signed none of these."""
        (self.folder / "another").mkdir()
        return Certificates(self.folder / "another")

    def _run(self, words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path):
    return Certificates(tmp_path)
