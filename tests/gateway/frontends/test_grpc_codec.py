"""Requests and answers as gRPC messages."""

import numpy as np
import pytest

from gateway.errors import Malformed, NotImplementedHere
from gateway.frontends.grpc_codec import decode_request
from gateway.frontends.limits import Limits
from runners.core.errors import InvalidInput
from runners.core.tensor import DATATYPES
from runners.oip.messages import ModelInferRequest

LIMITS = Limits()
TYPED = {
    "BOOL": ("bool_contents", [True, False]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-32768, 32767]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "FP32": ("fp32_contents", [0.5, -1.25]),
    "FP64": ("fp64_contents", [0.1, 1e300]),
    "BYTES": ("bytes_contents", [b"a\x00b", "\U0001f600".encode()]),
}


def request(datatype: str = "FP32", shape=(2,), raw: bytes | None = None, **contents) -> ModelInferRequest:
    message = ModelInferRequest(model_name="m")
    wire = message.inputs.add(name="x", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(wire.contents, field).extend(values)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def decode(message: ModelInferRequest, limits: Limits = LIMITS):
    return decode_request(message.SerializeToString(), limits)


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_become_tensors(datatype) -> None:
    """A client that fills the typed fields is understood, at the edges of each type."""
    field, values = TYPED[datatype]
    (tensor,) = decode(request(datatype, **{field: values})).inputs
    assert (datatype, DATATYPES[datatype].numpy, values) == (tensor.datatype, tensor.array.dtype, tensor.array.tolist())


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_travels_raw_alone(datatype) -> None:
    """Where there is no typed field, the caller is told which one to use."""
    with pytest.raises(InvalidInput, match="raw_input_contents"):
        decode(request(datatype, fp32_contents=[1.0, 2.0]))
    (tensor,) = decode(request(datatype, raw=b"\x01\x02\x03\x04")).inputs
    assert b"\x01\x02\x03\x04" == tensor.array.tobytes()


@pytest.mark.parametrize(
    ("datatype", "field", "value"),
    [
        ("INT8", "int_contents", 128),
        ("INT8", "int_contents", -129),
        ("INT16", "int_contents", 32768),
        ("UINT8", "uint_contents", 256),
        ("UINT16", "uint_contents", 65536),
    ],
)
def test_a_value_that_does_not_fit_is_refused(datatype, field, value) -> None:
    """Nothing wraps around without a word."""
    with pytest.raises(InvalidInput, match="range"):
        decode(request(datatype, (1,), **{field: [value]}))


def test_an_empty_tensor_needs_no_contents() -> None:
    """No elements is a legal number of elements."""
    (tensor,) = decode(request("INT8", (0, 4))).inputs
    assert ((0, 4), np.int8) == (tensor.array.shape, tensor.array.dtype)


@pytest.mark.parametrize(
    "message",
    [
        request("FP32", (2,), fp32_contents=[1.0]),
        request("FP32", (2,)),
        request("FP32", (2,), fp64_contents=[1.0, 2.0]),
        request("FP32", (1,), fp32_contents=[1.0], int_contents=[1]),
        request("FP32", (-1,), fp32_contents=[1.0]),
        request("FP32", (2**31, 2**31), fp32_contents=[1.0]),
        request("FP32", (2**62,), fp32_contents=[1.0]),
        request("FP31", (1,), fp32_contents=[1.0]),
        request("", (1,), fp32_contents=[1.0]),
        request("FP32", (1,), raw=b"\0\0\0"),
        request("FP32", (1,) * 99, fp32_contents=[1.0]),
        request("BYTES", (1,), raw=b"\xff\xff\xff\xff"),
    ],
)
def test_a_tensor_that_does_not_add_up_is_refused(message) -> None:
    """Shape, type and contents have to agree."""
    with pytest.raises(InvalidInput):
        decode(message)


def test_a_tensor_is_there_once() -> None:
    """Raw and typed at the same time contradict each other."""
    with pytest.raises(Malformed, match="twice"):
        decode(request("FP32", (1,), raw=b"\0\0\0\0", fp32_contents=[1.0]))


def test_raw_contents_are_for_all_inputs_or_none() -> None:
    """A raw entry that is missing would shift all that follow."""
    message = request("FP32", (1,), raw=b"\0\0\0\0")
    message.inputs.add(name="y", datatype="FP32", shape=[1])
    with pytest.raises(Malformed, match="1 entries for 2 inputs"):
        decode(message)


@pytest.mark.parametrize("junk", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x2a\x02\x08"])
def test_bytes_that_are_no_message_are_malformed(junk) -> None:
    """Broken protobuf is the caller's mistake, and not an internal error."""
    with pytest.raises(Malformed):
        decode_request(junk, LIMITS)


def test_fields_of_the_future_are_tolerated() -> None:
    """A client of a newer dialect is understood as far as this one goes."""
    body = request("FP32", (1,), fp32_contents=[1.0]).SerializeToString() + b"\xfa\x3e\x01x"
    assert "m" == decode_request(body, LIMITS).model


def test_parameters_of_all_five_kinds_are_read() -> None:
    """Whatever type a client's language gives a parameter, it arrives as that value."""
    message = request("FP32", (1,), fp32_contents=[1.0])
    given = {"bool_param": True, "int64_param": -5, "string_param": "s", "double_param": 0.5, "uint64_param": 2**64 - 1}
    for kind, value in given.items():
        setattr(message.parameters[kind], kind, value)
    assert given == decode(message).parameters


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_parameter_without_a_value_is_refused(value) -> None:
    """A parameter that says nothing, or nothing that could be written down, is a mistake."""
    message = request("FP32", (1,), fp32_contents=[1.0])
    message.parameters["p"].SetInParent()
    if value is not None:
        message.parameters["p"].double_param = value
    with pytest.raises(Malformed, match="'p'"):
        decode(message)


@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_shared_memory_is_not_here(where) -> None:
    """A tensor that lies elsewhere is refused as something this server does not speak."""
    message = request("FP32", (1,), fp32_contents=[1.0])
    holder = message.inputs[0] if where == "inputs" else message.outputs.add(name="y")
    holder.parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(NotImplementedHere):
        decode(message)


def test_an_id_is_bounded() -> None:
    """What is echoed and logged has a length."""
    message = request("FP32", (1,), fp32_contents=[1.0])
    message.id = "x" * 20_000
    with pytest.raises(Malformed, match="id"):
        decode(message)


def test_a_tensor_is_bounded_like_a_body() -> None:
    """A small message cannot declare a large tensor."""
    with pytest.raises(InvalidInput, match="declares more"):
        decode(request("FP64", (3,), fp64_contents=[1.0] * 3), Limits(body_bytes=16))
