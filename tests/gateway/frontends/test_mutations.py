"""Requests that were valid once, broken in every way: a caller may be told anything but that the server is at fault."""

import asyncio
import gzip
import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.frontends.grpc_codec import decode_request
from gateway.frontends.limits import Limits
from gateway.frontends.status import STATUSES
from runners.core.errors import RunnerError
from runners.core.tensor import InferenceResponse, Tensor
from runners.oip.messages import ModelInferRequest

THOROUGH = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
FULL = (
    b'{"id":"a","parameters":{"timeout":1000,"sequence_id":"s","p":1.5},"inputs":[{"name":"x","shape":[2,2],'
    b'"datatype":"FP32","data":[[1,2.5],[3,-4e2]]},{"name":"s","shape":[2],"datatype":"BYTES","data":["a","\\u00e9"]}],'
    b'"outputs":[{"name":"y","parameters":{"binary_data":true}}]}'
)
SEEDS = [
    FULL,
    b'{"inputs":[{"name":"x","shape":[2],"datatype":"INT8","data":[1,2],"parameters":{"binary_data_size":2}}]}\x01\x02',
    b'{"inputs":[{"name":"s","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":7}}]}\x03\0\0\0abc',
]
TOKENS = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"\\ud800", b"\xff"),
    *(b"\0", b"\r\n", b"18446744073709551616", b"-9223372036854775809", b'"shape"', b'"data"', b'"BF16"', b'"BYTES"'),
    *(b"[" * 2000, b'{"a":' * 2000, b"9" * 5000, b"\xef\xbb\xbf", b'"binary_data_size":', b"4294967295"),
]


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with up to six cuts, copies, insertions and changed bytes."""
    body = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        match draw(st.sampled_from(["cut", "copy", "token", "bytes", "flip", "end"])):
            case "cut":
                del body[start:end]
            case "copy":
                body[start:start] = body[start:end] * draw(st.integers(1, 3))
            case "token":
                body[start:end] = draw(st.sampled_from(TOKENS))
            case "bytes":
                body[start:end] = draw(st.binary(max_size=12))
            case "flip" if start < len(body):
                body[start] ^= 1 << draw(st.integers(0, 7))
            case "end":
                del body[start:]
    return bytes(body)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def judge(runner, stage, make_endpoint):
    """Post a body and judge the reply: an answer, or an error of the caller's in the protocol's form; one record."""
    answer = InferenceResponse((Tensor("y", "FP32", np.ones((1, 1), np.float32)),))
    stage.route("any", make_endpoint(lambda _: answer, "v1"))

    def judged(body: bytes, headers: dict[str, str | bytes]) -> None:
        stage.records.clear()
        reply = runner.run(stage.ask("POST", "/v2/models/any/infer", body, headers=headers))
        assert reply.status == 200 or 400 <= reply.status < 500, reply.body
        assert 1 == len(stage.records)
        if reply.status != 200:
            assert reply.error.isprintable()
        elif b"inference-header-content-length" in reply.headers:
            json.loads(reply.body[: int(reply.headers[b"inference-header-content-length"])])
        else:
            json.loads(reply.body)

    return judged


@THOROUGH
@given(body=mutated(SEEDS))
def test_no_json_body_is_the_server_s_fault(judge, body) -> None:
    """Whatever is sent as JSON, the caller gets an answer or learns what is wrong."""
    judge(body, {})


@THOROUGH
@given(body=mutated(SEEDS), length=st.one_of(st.integers(-5, 300).map(str), st.text("0123456789+-xe ", max_size=6)))
def test_no_binary_body_is_the_server_s_fault(judge, body, length) -> None:
    """Wherever a header says that the JSON ends, and whatever stands there."""
    judge(body, {"inference-header-content-length": length})


@THOROUGH
@given(body=mutated([gzip.compress(seed) for seed in SEEDS]), encoding=st.sampled_from(["gzip", "deflate", "br"]))
def test_no_packed_body_is_the_server_s_fault(judge, body, encoding) -> None:
    """Broken streams, wrong labels, lengths that lie."""
    judge(body, {"content-encoding": encoding})


@settings(THOROUGH, max_examples=500)
@given(
    names=st.lists(
        st.sampled_from(
            [
                *("x-request-id", "x-request-timeout-ms", "traceparent", "tracestate", "baggage", "x-turnout-unit"),
                *("x-turnout-arm", "x-turnout-override-token", "x-turnout-fallback", "content-length"),
            ]
        ),
        unique=True,
    ),
    value=st.binary(max_size=200),
)
def test_no_header_is_the_server_s_fault(judge, names, value) -> None:
    """Bytes of any kind in the headers we look at are used, ignored or refused, and never sent back as they are."""
    judge(SEEDS[0], dict.fromkeys(names, value))


def messages() -> list[bytes]:
    raw = ModelInferRequest(model_name="any", id="a", raw_input_contents=[b"\0" * 16, b"\x03\0\0\0abc"])
    raw.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    raw.inputs.add(name="s", datatype="BYTES", shape=[1])
    raw.parameters["timeout"].int64_param = 1000
    typed = ModelInferRequest(model_name="any")
    typed.inputs.add(name="x", datatype="INT8", shape=[2]).contents.int_contents.extend([1, 2])
    typed.inputs.add(name="s", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"abc")
    typed.outputs.add(name="y").parameters["p"].double_param = 0.5
    return [raw.SerializeToString(), typed.SerializeToString()]


@settings(THOROUGH, max_examples=3000)
@given(body=mutated(messages()))
def test_no_message_is_the_server_s_fault(body) -> None:
    """Broken protobuf, and protobuf that says impossible things, are refused as the caller's mistake."""
    assert verdict(body) < 500


def verdict(body: bytes) -> int:
    """The HTTP status that a message would have got; whatever is raised beyond that is a failure of the test."""
    try:
        decode_request(body, Limits(body_bytes=1 << 20))
    except (GatewayError, RunnerError) as error:
        return STATUSES[error.code].http
    return 200
