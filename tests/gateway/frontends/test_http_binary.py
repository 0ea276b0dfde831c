"""Tensors in binary behind the JSON, both ways, and requests that are nothing but a tensor."""

import json

import numpy as np
import pytest

from runners.core.tensor import DATATYPES, InferenceResponse, Signature, Tensor, TensorSpec
from runners.core.tensor_binary import tensor_to_binary

LENGTH = b"inference-header-content-length"
TEXTS = [b"a\x00b", "\U0001f600".encode(), b""]


def some_of(datatype: str) -> Tensor:
    """Three elements of a datatype, bits chosen to be told apart."""
    if datatype == "BYTES":
        array = np.empty(3, dtype=object)
        array[:] = TEXTS
        return Tensor(datatype, datatype, array)
    row = DATATYPES[datatype]
    raw = bytes([1, 0, 1]) if datatype == "BOOL" else bytes(range(1, 1 + 3 * row.itemsize))
    return Tensor(datatype, datatype, np.frombuffer(raw, row.numpy))


def parts_of(reply) -> tuple[dict, bytes]:
    """The JSON of a binary reply, and what follows it."""
    length = int(reply.headers[LENGTH])
    return json.loads(reply.body[:length]), reply.body[length:]


@pytest.mark.parametrize("datatype", DATATYPES)
async def test_every_datatype_goes_both_ways_bit_by_bit(stage, make_binary, datatype) -> None:
    """A tensor comes back from an identity model exactly as it was sent."""
    raw = tensor_to_binary(some_of(datatype))
    wire = {"name": datatype, "shape": [3], "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
    body, headers = make_binary({"inputs": [wire], "parameters": {"binary_data_output": True}}, raw)
    reply = await stage.infer("mirror", body, headers)
    document, rest = parts_of(reply)
    assert (200, b"application/octet-stream", raw) == (reply.status, reply.headers[b"content-type"], rest)
    assert [{**wire, "name": datatype}] == document["outputs"]


async def test_json_and_binary_mix_in_one_request(stage, make_tensor, make_binary) -> None:
    """Binary tensors follow each other in the order of the inputs, whatever stands between them in JSON."""
    inputs = [
        {"name": "FP32", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}},
        make_tensor("INT8", [7], [1], "INT8"),
        {"name": "UINT8", "shape": [2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}},
    ]
    body, headers = make_binary({"inputs": inputs}, np.float32(1.5).tobytes(), b"\x05\x06")
    document = (await stage.infer("mirror", body, headers)).json()
    assert [[1.5], [7], [5, 6]] == [output["data"] for output in document["outputs"]]


@pytest.mark.parametrize(
    ("request_flag", "output_flag", "is_binary"),
    [(None, True, True), (None, None, False), (True, False, False), (True, None, True), (False, True, True)],
)
async def test_an_output_s_own_flag_wins(stage, make_tensor, request_flag, output_flag, is_binary) -> None:
    """What is said of one output counts more than what is said of all."""
    body = {"inputs": [make_tensor()], "outputs": [{"name": "y"}]}
    if output_flag is not None:
        body["outputs"][0]["parameters"] = {"binary_data": output_flag}
    if request_flag is not None:
        body["parameters"] = {"binary_data_output": request_flag}
    reply = await stage.infer("plain", body)
    assert is_binary == (LENGTH in reply.headers)
    assert 200 == reply.status


async def test_one_output_in_binary_and_one_in_json(stage, make_tensor) -> None:
    """Only the binary one has a size, only the other has data."""
    inputs = [make_tensor("FP32", [1.0], [1], "FP32"), make_tensor("INT8", [2], [1], "INT8")]
    outputs = [{"name": "FP32", "parameters": {"binary_data": True}}, {"name": "INT8"}]
    document, rest = parts_of(await stage.infer("mirror", {"inputs": inputs, "outputs": outputs}))
    assert [
        {"name": "FP32", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}},
        {"name": "INT8", "datatype": "INT8", "shape": [1], "data": [2]},
    ] == document["outputs"]
    assert np.float32(1.0).tobytes() == rest


async def test_an_empty_tensor_is_listed_with_size_zero(stage, make_binary) -> None:
    """No elements is an answer too."""
    wire = {"name": "FP32", "shape": [0, 4], "datatype": "FP32", "parameters": {"binary_data_size": 0}}
    body, headers = make_binary({"inputs": [wire], "parameters": {"binary_data_output": True}})
    document, rest = parts_of(await stage.infer("mirror", body, headers))
    assert ([wire], b"") == (document["outputs"], rest)


async def test_an_answer_all_in_json_has_no_length_header(stage, make_tensor) -> None:
    """A client that splits the body at the header is not misled."""
    assert LENGTH not in (await stage.infer("plain", {"inputs": [make_tensor()]})).headers


@pytest.mark.parametrize("content_type", [None, "application/json", "application/octet-stream", "text/plain"])
async def test_the_content_type_is_not_looked_at(stage, make_binary, content_type) -> None:
    """Clients that send no content type, or a wrong one, are understood by the length header alone."""
    wire = {"name": "FP32", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
    body, headers = make_binary({"inputs": [wire]}, b"\0\0\0\0")
    if content_type:
        headers["content-type"] = content_type
    assert 200 == (await stage.infer("mirror", body, headers)).status


@pytest.mark.parametrize("length", ["-1", "", "x", "1e2", "99999", "9" * 400, "+5", "0x10", "5", "00"])
async def test_a_length_that_cannot_be_is_refused(stage, make_binary, length) -> None:
    """A header that points outside the body, or into the middle of the JSON, is the caller's mistake."""
    wire = {"name": "FP32", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
    body, headers = make_binary({"inputs": [wire]}, b"\0\0\0\0")
    reply = await stage.infer("mirror", body, headers | {"Inference-Header-Content-Length": length})
    assert 400 == reply.status
    assert reply.error


@pytest.mark.parametrize(
    ("parameters", "raw"),
    [
        ({"binary_data_size": 4}, b"\0" * 5),
        ({"binary_data_size": 4}, b"\0" * 3),
        ({"binary_data_size": 8}, b"\0" * 8),
        ({"binary_data_size": -4}, b"\0" * 4),
        ({"binary_data_size": 2**70}, b"\0" * 4),
        ({"binary_data_size": "4"}, b"\0" * 4),
        ({"binary_data_size": True}, b"\0"),
        ({"binary_data_size": 4.0}, b"\0" * 4),
        ({}, b"\0" * 4),
    ],
)
async def test_sizes_that_do_not_add_up_are_refused(stage, make_binary, parameters, raw) -> None:
    """Not a byte more and not a byte less than the tensors take."""
    wire = {"name": "FP32", "shape": [1], "datatype": "FP32", "parameters": parameters}
    body, headers = make_binary({"inputs": [wire]}, raw)
    assert 400 == (await stage.infer("mirror", body, headers)).status


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff\xff", b"\x05\0\0\0abc", b"\x01\0\0\0a\x01", b"\0\0", b"\x01\0\0\0ab\0\0\0"]
)
async def test_strings_whose_lengths_lie_are_refused(stage, make_binary, raw) -> None:
    """A length that reaches beyond the tensor is never followed."""
    wire = {"name": "BYTES", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    body, headers = make_binary({"inputs": [wire]}, raw)
    assert 400 == (await stage.infer("mirror", body, headers)).status


async def test_data_in_both_places_is_refused(stage, make_tensor, make_binary) -> None:
    """A tensor that is there twice is not guessed at."""
    wire = make_tensor("FP32", [1.0], [1], "FP32") | {"parameters": {"binary_data_size": 4}}
    body, headers = make_binary({"inputs": [wire]}, b"\0\0\0\0")
    reply = await stage.infer("mirror", body, headers)
    assert 400 == reply.status
    assert "twice" in reply.error


RAW = {"Inference-Header-Content-Length": "0"}


def answered_twice(_) -> InferenceResponse:
    return InferenceResponse(tuple(Tensor(name, "FP32", np.ones(1, np.float32)) for name in "yz"))


@pytest.fixture
def raw_route(stage, make_endpoint):
    """A route whose model has the given inputs; gives the endpoint back."""

    def added(*inputs: TensorSpec):
        endpoint = make_endpoint(answered_twice, "v1", Signature(inputs, ()))
        stage.route("raw", endpoint)
        return endpoint

    return added


@pytest.mark.parametrize(("rows", "declared"), [(1, (-1, 4)), (3, (-1, 4)), (1, (1, 4)), (2, (4, -1))])
async def test_a_body_can_be_the_only_input_itself(stage, raw_route, rows, declared) -> None:
    """Without any JSON the shape follows from the size, and every output comes back in binary."""
    endpoint = raw_route(TensorSpec("x", "FP32", declared))
    sent = np.arange(4 * rows, dtype=np.float32)
    document, rest = parts_of(await stage.infer("raw", sent.tobytes(), RAW))
    (tensor,) = endpoint.seen[0].inputs
    assert ("x", sent.tolist()) == (tensor.name, tensor.array.ravel().tolist())
    assert (["y", "z"], 8) == ([output["name"] for output in document["outputs"]], len(rest))


async def test_a_raw_body_of_text_is_one_string(stage, raw_route) -> None:
    """A body for a model of strings is one element, without a length before it."""
    endpoint = raw_route(TensorSpec("x", "BYTES", (1,)))
    await stage.infer("raw", b"a\x00b", RAW)
    assert [b"a\x00b"] == endpoint.seen[0].inputs[0].array.tolist()


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ((TensorSpec("x", "FP32", (-1, 4)), TensorSpec("z", "FP32", (1,))), 16),
        ((), 16),
        ((TensorSpec("x", "FP32", (-1, -1)),), 16),
        ((TensorSpec("x", "FP32", (-1, 4)),), 15),
        ((TensorSpec("x", "FP32", (1, 4)),), 32),
        ((TensorSpec("x", "FP32", (-1, 0)),), 4),
        ((TensorSpec("x", "BYTES", (2,)),), 4),
    ],
)
async def test_a_raw_body_that_leaves_a_choice_is_refused(stage, raw_route, inputs, size) -> None:
    """Where the bytes could mean more than one thing, or nothing, they are not taken."""
    raw_route(*inputs)
    assert 400 == (await stage.infer("raw", b"\0" * size, RAW)).status


async def test_a_raw_body_for_nobody_is_404(stage) -> None:
    """The model is looked for before its signature is."""
    assert 404 == (await stage.infer("nobody", b"\0", RAW)).status
