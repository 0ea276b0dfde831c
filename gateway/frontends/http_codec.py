"""Inference requests and answers as HTTP carries them: JSON, with the tensors in it or in binary behind it.

A request says with Inference-Header-Content-Length where its JSON ends; the content type is not looked at, for clients
disagree about it. An answer is JSON unless the request asked for binary outputs.

Source: Open Inference Protocol, inference API; Triton Inference Server, binary tensor data extension.
"""

from collections.abc import Mapping
from math import prod
from types import MappingProxyType

import numpy as np
from msgspec import Struct, json

from gateway.errors import Malformed, NotImplementedHere, TooLarge
from gateway.frontends.attribution import Attribution
from gateway.frontends.limits import Limits
from runners.core.errors import InvalidInput
from runners.core.tensor import DATATYPES, InferenceRequest, InferenceResponse, Parameter, Signature, Tensor
from runners.core.tensor_binary import tensor_from_binary, tensor_to_binary
from runners.core.tensor_json import JsonOutput, JsonTensor, tensor_from_json, tensor_to_json

ID_LIMIT = 16 << 10  # characters of a request's id; it is echoed and logged
LONG_JSON = 1 << 20  # bytes of one tensor's JSON above which its elements are counted before they are read
SIZE = "binary_data_size"
NULL = b"null"
SHARED_MEMORY = "shared_memory_region"
CLASSIFICATION = "classification"

Buffer = bytes | bytearray


class WantedOutput(Struct, gc=False):
    """An output as a request names it."""

    name: str
    parameters: dict[str, Parameter] = {}


class RequestBody(Struct, gc=False):
    """The JSON of a request. Fields that are not here are tolerated and ignored."""

    inputs: list[JsonTensor]
    id: str | None = None
    parameters: dict[str, Parameter] = {}
    outputs: list[WantedOutput] = []


class BinaryWish(Struct, frozen=True):
    """Which outputs shall come back in binary: those named, else all or none."""

    others: bool = False
    named: Mapping[str, bool] = MappingProxyType({})


class Decoded(Struct, frozen=True, gc=False):
    """A request, and how its answer shall look. `wish` is None for an answer that is JSON throughout."""

    request: InferenceRequest
    wish: BinaryWish | None = None


def decode_json(body: Buffer | memoryview, model: str, version: str, limits: Limits) -> Decoded:
    """A request that is JSON and nothing else. Raises Malformed, InvalidInput, TooLarge or NotImplementedHere."""
    parsed = _parse(body)
    limit = limits.body_bytes
    inputs: list[Tensor] = []
    for wire in parsed.inputs:
        if wire.parameters and _is_empty_binary(wire):
            inputs.append(tensor_from_binary(wire.name, wire.datatype, wire.shape, b"", limit_bytes=limit))
            continue
        if wire.parameters or len(wire.data) > LONG_JSON:
            _check_json_tensor(wire, limits)
        inputs.append(tensor_from_json(wire, limit_bytes=limit))
    if parsed.outputs or parsed.parameters:
        return _decoded(parsed, tuple(inputs), model, version)
    return Decoded(InferenceRequest(model, tuple(inputs), (), version, parsed.id or ""))


def decode_binary(body: Buffer, json_length: bytes, model: str, version: str, limits: Limits) -> Decoded:
    """A request whose JSON takes `json_length` bytes, as its header says, with the tensors behind it."""
    json_n = int(json_length) if json_length.isdigit() and len(json_length) < 16 else -1
    if not 0 < json_n <= len(body):
        raise Malformed(
            f"header 'Inference-Header-Content-Length' must lie between 0 and the {len(body)} bytes there are"
        )
    view = memoryview(body).toreadonly()
    parsed = _parse(view[:json_n])
    inputs: list[Tensor] = []
    at = json_n
    for wire in parsed.inputs:
        size = wire.parameters.get(SIZE) if wire.parameters else None
        if size is None:
            _check_json_tensor(wire, limits)
            inputs.append(tensor_from_json(wire, limit_bytes=limits.body_bytes))
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(body) - at:
            raise Malformed(
                f"input '{wire.name[:100]}': binary_data_size is not within the {len(body) - at} bytes left"
            )
        if _has_data(wire):
            raise Malformed(f"input '{wire.name[:100]}' has its data twice, in JSON and in binary")
        part = view[at : at + size]
        inputs.append(tensor_from_binary(wire.name, wire.datatype, wire.shape, part, limit_bytes=limits.body_bytes))
        at += size
    if at != len(body):
        raise Malformed(f"{len(body) - at} bytes are left over after the last tensor")
    return _decoded(parsed, tuple(inputs), model, version)


def decode_raw(body: Buffer, signature: Signature, model: str, version: str, limits: Limits) -> Decoded:
    """A request without any JSON: the body is the model's only input, and every output is wanted in binary."""
    if len(signature.inputs) != 1:
        raise InvalidInput(f"a raw binary request needs a model with one input, this has {len(signature.inputs)}")
    spec = signature.inputs[0]
    if spec.datatype == "BYTES":
        if spec.shape not in ((1,), (-1,)):
            raise InvalidInput("a raw binary request of BYTES needs an input of shape [1]")
        element = np.empty(1, dtype=object)
        element[0] = bytes(body)
        tensor = Tensor(spec.name, spec.datatype, element)
    else:
        shape = _shape_of(len(body), DATATYPES[spec.datatype].itemsize, spec.shape)
        tensor = tensor_from_binary(spec.name, spec.datatype, shape, body, limit_bytes=limits.body_bytes)
    return Decoded(InferenceRequest(model, (tensor,), (), version), BinaryWish(others=True))


def encode_json(attribution: Attribution, request_id: str, answer: InferenceResponse) -> bytes:
    """An answer's body with all tensors in JSON. Raises InvalidInput or InvalidOutput for what JSON cannot hold."""
    outputs = _encode([tensor_to_json(tensor) for tensor in answer.outputs])
    return b"".join((attribution.json_head, _id_field(request_id), b',"outputs":', outputs, b"}"))


def encode_binary(
    attribution: Attribution, request_id: str, answer: InferenceResponse, wish: BinaryWish
) -> tuple[bytes, int]:
    """An answer's body with tensors in binary where `wish` says so, and the length of its JSON, 0 if that is all."""
    outputs: list[JsonOutput] = []
    parts: list[bytes] = []
    for tensor in answer.outputs:
        if wish.named.get(tensor.name, wish.others):
            raw = tensor_to_binary(tensor)
            parts.append(raw)
            outputs.append(JsonOutput(tensor.name, tensor.datatype, tensor.shape, {SIZE: len(raw)}))
        else:
            outputs.append(tensor_to_json(tensor))
    head = b"".join((attribution.json_head, _id_field(request_id), b',"outputs":', _encode(outputs), b"}"))
    return (b"".join((head, *parts)), len(head)) if parts else (head, 0)


_encode = json.Encoder().encode
_decode = json.Decoder(RequestBody).decode


def _parse(body: Buffer | memoryview) -> RequestBody:
    try:
        parsed = _decode(body)
    except RecursionError:
        raise Malformed("the JSON is nested too deeply") from None
    except ValueError as error:  # msgspec's errors, and bytes that are not UTF-8
        raise Malformed(f"the body is no inference request: {error}") from None
    if parsed.id and len(parsed.id) > ID_LIMIT:
        raise Malformed(f"the id is longer than {ID_LIMIT} characters")
    return parsed


def _has_data(wire: JsonTensor) -> bool:
    """Whether a tensor has elements in JSON; `null` stands for none where a client has no way to leave it out."""
    return memoryview(wire.data)[:5] not in (b"", NULL)


def _is_empty_binary(wire: JsonTensor) -> bool:
    """Whether a tensor has no bytes and says so. KServe's client sends it without saying where its JSON ends."""
    size = wire.parameters.get(SIZE)
    return size == 0 and not isinstance(size, bool) and not _has_data(wire)


def _check_json_tensor(wire: JsonTensor, limits: Limits) -> None:
    """Refuse a tensor that says it is elsewhere, and one that would take too much memory merely to be read."""
    if SHARED_MEMORY in wire.parameters:
        raise NotImplementedHere("tensors in shared memory are not taken here")
    if SIZE in wire.parameters:
        raise Malformed(f"input '{wire.name[:100]}' is binary, but no Inference-Header-Content-Length says where it is")
    if len(wire.data) > LONG_JSON and bytes(wire.data).count(b",") >= limits.json_elements:
        raise TooLarge(f"input '{wire.name[:100]}' has too many elements for JSON; send it as binary tensor data")


def _decoded(parsed: RequestBody, inputs: tuple[Tensor, ...], model: str, version: str) -> Decoded:
    wanted = tuple([output.name for output in parsed.outputs])
    wish = _wish_of(parsed) if wanted or "binary_data_output" in parsed.parameters else None
    request = InferenceRequest(model, inputs, wanted, version, parsed.id or "", parsed.parameters)
    return Decoded(request, wish)


def _wish_of(parsed: RequestBody) -> BinaryWish | None:
    others = _flag(parsed.parameters, "binary_data_output", otherwise=False)
    named: dict[str, bool] = {}
    for output in parsed.outputs:
        if CLASSIFICATION in output.parameters or SHARED_MEMORY in output.parameters:
            raise NotImplementedHere("the classification and shared memory extensions are not spoken here")
        named[output.name] = _flag(output.parameters, "binary_data", otherwise=others)
    if len(named) != len(parsed.outputs):
        raise Malformed("an output is asked for twice")
    return BinaryWish(others, named) if others or True in named.values() else None


def _flag(parameters: Mapping[str, Parameter], name: str, *, otherwise: bool) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise Malformed(f"parameter '{name}' must be true or false")
    return value


def _shape_of(size: int, itemsize: int, declared: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of so many bytes where at most one dimension is open."""
    if declared.count(-1) > 1:
        raise InvalidInput("a raw binary request needs an input with at most one variable dimension")
    step = itemsize * prod([dim for dim in declared if dim != -1])
    return tuple([size // step if dim == -1 and step else max(dim, 0) for dim in declared])


def _id_field(request_id: str) -> bytes:
    return b',"id":' + _encode(request_id) if request_id else b""
