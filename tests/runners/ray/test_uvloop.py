"""The hop on the loop that gateways and replicas really have; the other tests have asyncio's own."""

import asyncio
from time import monotonic

import numpy as np
import pytest
import uvloop
from msgspec.structs import replace

from runners.core.tensor import InferenceRequest, Signature, Tensor, TensorSpec
from runners.fake import Compute, FakeEndpoint
from runners.ray.endpoint import HopEndpoint
from runners.ray.members import Membership
from runners.ray.server import HopServer
from runners.ray.settings import Dial, Listen

SPECS = TensorSpec("x", "FP32", (-1,)), TensorSpec("s", "BYTES", (-1,))
SIGNATURE = Signature(SPECS, SPECS)


@pytest.mark.parametrize("over", ["unix", "tcp", "tls"])
def test_large_and_small_requests_over_each_kind_of_socket(secret, tmp_path, hand, certificates, over):
    """Nothing is cut, mixed up or kept waiting."""
    tls = certificates.signed("turnout-hop") if over == "tls" else None
    listen = Listen("r", secret, unix=str(tmp_path / "s")) if over == "unix" else Listen("r", secret, host="127.0.0.1")

    async def ask_all() -> None:
        server = HopServer(FakeEndpoint(SIGNATURE, [Compute(lambda r: r.inputs)]), replace(listen, tls=tls))
        await server.start()
        endpoint = HopEndpoint("arm", Dial(secret, tls, hand.patient))
        endpoint.update(Membership(1, (hand.member(server),)))
        await endpoint.greeted(60)
        s = np.array([b"\xff", b""], dtype=object)
        arrays = [np.arange(n, dtype="<f4") for n in (3, 15 << 20, 0, 1 << 20, 20_000)]
        requests = [InferenceRequest("m", (Tensor("x", "FP32", x), Tensor("s", "BYTES", s))) for x in arrays]
        answers = await asyncio.gather(*[endpoint.infer(r, deadline_at=monotonic() + 100) for r in requests])
        assert [True] * 5 == [
            np.array_equal(x, answer.outputs[0].array) for x, answer in zip(arrays, answers, strict=True)
        ]
        assert [s.tolist()] * 5 == [answer.outputs[1].array.tolist() for answer in answers]
        assert await asyncio.gather(server.drain(60), endpoint.close()) == [True, None]
        await server.close()

    uvloop.run(ask_all())
