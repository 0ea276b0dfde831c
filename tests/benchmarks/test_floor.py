"""The floor answers right; otherwise it is no floor."""

import numpy as np
import pytest

from benchmarks.answers import read_binary, read_grpc, read_json
from benchmarks.peers.floor import HttpFloor, answer_grpc, open_model
from runners.oip.messages import ModelInferResponse


@pytest.fixture
def model(workload):
    return open_model(workload.models["old"])


@pytest.fixture
def ask(model):
    """Sends a body in two pieces, as a slow client would; gives the headers and the body that came back."""

    async def ask(body, *headers):
        pieces = [{"body": body[:10], "more_body": True}, {"body": body[10:], "more_body": False}]
        sent = []

        async def receive():
            return pieces.pop(0)

        async def send(message):
            sent.append(message)

        await HttpFloor(model)({"path": "/v2/models/tiny/infer", "headers": headers}, receive, send)
        start, answer = sent
        assert 200 == start["status"]
        return dict(start["headers"]), answer["body"]

    return ask


async def test_json_is_answered_as_onnxruntime_does(workload, ask):
    """The floor is compared with the gateway only as long as both say the same."""
    headers, body = await ask(workload.bodies["json"].read_bytes())
    arm, probs = read_json(body)
    assert (b"application/json", b"%d" % len(body)) == (headers[b"content-type"], headers[b"content-length"])
    assert "old" == arm
    assert np.allclose(workload.expected["old"], probs, atol=1e-6)


async def test_binary_is_answered_in_binary(workload, ask):
    """The same, with tensors behind the JSON."""
    length = b"inference-header-content-length"
    headers, body = await ask(workload.bodies["binary"].read_bytes(), (length, b"%d" % workload.json_length))
    _, probs = read_binary(body, int(headers[length]))
    assert np.array_equal(workload.expected["old"], probs)


def test_grpc_is_answered_with_a_raw_tensor(workload, model):
    """The same, over gRPC."""
    answer = ModelInferResponse.FromString(answer_grpc(model, workload.bodies["grpc"].read_bytes()[5:]))
    _, probs = read_grpc(answer)
    assert "r1" == answer.id
    assert np.array_equal(workload.expected["old"], probs)
