"""Replicas in this process, on sockets of their own, and endpoints that know them."""

from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from runners.core.runner import Description
from runners.core.tensor import Signature, Tensor, TensorSpec
from runners.fake import Compute, FakeEndpoint
from runners.ray.endpoint import HopEndpoint
from runners.ray.members import Address, Member, Membership, State
from runners.ray.server import HopServer
from runners.ray.settings import Dial, Listen, Pace

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
