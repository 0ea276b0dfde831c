"""The models and what they are asked."""

import struct

import numpy as np
import pytest

from benchmarks.models import build_model, draw_input, make_workload
from gateway.frontends.grpc_codec import decode_request
from gateway.frontends.http_codec import decode_binary, decode_json
from gateway.frontends.limits import DEFAULT_LIMITS


def test_all_protocols_ask_the_same(workload):
    """Whoever compares HTTP with gRPC compares protocols, not inputs."""
    json, binary, framed = (workload.bodies[form].read_bytes() for form in ("json", "binary", "grpc"))
    length = b"%d" % workload.json_length
    requests = (
        decode_json(json, "tiny", "", DEFAULT_LIMITS).request,
        decode_binary(binary, length, "tiny", "", DEFAULT_LIMITS).request,
        decode_request(framed[5:], DEFAULT_LIMITS),
    )
    for request in requests:
        (tensor,) = request.inputs
        assert ("r1", "x", "FP32") == (request.id, tensor.name, tensor.datatype)
        assert np.array_equal(draw_input("tiny"), tensor.array)


def test_a_binary_request_wants_a_binary_answer(workload):
    """HTTP binary is binary both ways."""
    decoded = decode_binary(
        workload.bodies["binary"].read_bytes(), b"%d" % workload.json_length, "tiny", "", DEFAULT_LIMITS
    )
    assert {"probs": True} == decoded.wish.named


def test_a_grpc_body_is_framed(workload):
    """The load generator knows nothing of gRPC, so the body brings its own frame."""
    framed = workload.bodies["grpc"].read_bytes()
    assert (0, len(framed) - 5) == struct.unpack(">BI", framed[:5])


def test_an_answer_tells_which_arm_gave_it(workload):
    """Arms whose answers were alike would hide a mistaken one."""
    old, new = workload.expected.values()
    assert np.abs(old - new).max() > 0.01


def test_models_are_the_same_wherever_they_are_made(workload):
    """Two machines measure the same model."""
    assert workload.models["old"].read_bytes() == build_model("tiny", 7).SerializeToString()


@pytest.mark.parametrize(("name", "classes"), [("tiny", 3), ("conv", 10)])
def test_models_answer_with_a_distribution(name, classes, tmp_path):
    """Weights are scaled so that nothing saturates, overflows or comes out as NaN."""
    for probs in make_workload(name, tmp_path).expected.values():
        assert (1, classes) == probs.shape
        assert 1.0 == pytest.approx(probs.sum(), abs=1e-5)
        assert probs.max() < 0.99
