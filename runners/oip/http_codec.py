"""Requests to a server and its answers over HTTP: the other side of what the gateway's own frontend speaks.

Tensors travel in binary where the server says that it takes them so, else in JSON; an answer may mix the two.

Source: Open Inference Protocol, inference API; Triton Inference Server, binary tensor data extension.
"""

from typing import Any

from msgspec import Struct, json

from runners.core.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InvalidInput,
    InvalidOutput,
    NotReady,
    Overloaded,
    RunnerError,
)
from runners.core.tensor import InferenceRequest, Parameter, Tensor
from runners.core.tensor_binary import tensor_from_binary, tensor_to_binary
from runners.core.tensor_json import JsonOutput, JsonTensor, tensor_from_json, tensor_to_json
from runners.oip.client import ANSWER_LIMIT_BYTES, parameters_onward, shown
from runners.oip.http_connection import HttpAnswer

JSON_LENGTH = b"inference-header-content-length"
_SIZE = "binary_data_size"
_BINARY: dict[str, Parameter] = {"binary_data": True}


class _Wanted(Struct, gc=False, omit_defaults=True):
    name: str
    parameters: dict[str, Parameter] = {}


class _Body(Struct, gc=False, omit_defaults=True):
    inputs: list[JsonOutput]
    id: str = ""
    parameters: dict[str, Parameter] = {}
    outputs: list[_Wanted] = []


class _Answer(Struct, gc=False):
    outputs: list[JsonTensor]


_encode = json.Encoder().encode
_decode = json.Decoder(_Answer).decode


def encode_request(request: InferenceRequest, remaining_s: float, *, is_binary: bool) -> tuple[bytes, list[bytes]]:
    """The JSON of a request, and the tensors to follow it. Raises InvalidInput for what JSON cannot hold."""
    parameters = parameters_onward(request.parameters) if request.parameters else {}
    parameters["timeout"] = max(1, int(remaining_s * 1e6))
    inputs: list[JsonOutput] = []
    parts: list[bytes] = []
    if is_binary:
        parameters["binary_data_output"] = True
        for tensor in request.inputs:
            raw = tensor_to_binary(tensor)
            parts.append(raw)
            inputs.append(JsonOutput(tensor.name, tensor.datatype, tensor.shape, {_SIZE: len(raw)}))
        outputs = [_Wanted(name, _BINARY) for name in request.outputs]
    else:
        inputs += [_json_input(tensor) for tensor in request.inputs]
        outputs = [_Wanted(name) for name in request.outputs]
    return _encode(_Body(inputs, request.id, parameters, outputs)), parts


def decode_answer(answer: HttpAnswer) -> tuple[Tensor, ...]:
    """The tensors of a 200, in the server's order. Raises InvalidOutput."""
    body = memoryview(answer.body)
    written = answer.headers.get(JSON_LENGTH)
    at = len(body) if written is None else int(written) if written.isdigit() and len(written) < 16 else -1
    if not 0 <= at <= len(body):
        raise InvalidOutput("the remote server's answer does not say where its JSON ends")
    try:
        outputs = _decode(body[:at]).outputs
    except (ValueError, RecursionError) as error:  # msgspec's errors, and bytes that are not UTF-8
        raise InvalidOutput(f"the remote server's answer is no inference response: {shown(str(error))}") from None
    tensors: list[Tensor] = []
    try:
        for wire in outputs:
            size = wire.parameters.get(_SIZE) if wire.parameters else None
            if size is None:
                tensors.append(tensor_from_json(wire, limit_bytes=ANSWER_LIMIT_BYTES))
                continue
            end = at + _size_of(size, len(body) - at)
            tensors.append(
                tensor_from_binary(wire.name, wire.datatype, wire.shape, body[at:end], limit_bytes=ANSWER_LIMIT_BYTES)
            )
            at = end
    except InvalidInput as error:  # what the codecs say of a caller's tensors is here said of the server's
        raise InvalidOutput(f"the remote server's answer cannot be read: {error}") from None
    if at != len(body):
        raise InvalidOutput(f"the remote server's answer has {len(body) - at} bytes left over")
    return tuple(tensors)


def error_of(answer: HttpAnswer) -> RunnerError:
    """What an answer that is no 200 means for the request.

    Only an error in the protocol's own form blames the caller: a proxy's page says nothing about tensors.
    """
    text = _text_of(answer.body)
    said = f"the remote server answered {answer.status}{f': {shown(text)}' if text else ''}"
    match answer.status:
        case 400 | 422 if text:
            return InvalidInput(said)
        case 401 | 403 | 404 | 502 | 503:
            return NotReady(said)
        case 429:
            return Overloaded(said)
        case 408 | 504:
            return DeadlineExceeded(said)
        case _:
            return ExecutionFailed(said)


def _text_of(body: bytes) -> str:
    """The text of an error in one of the forms that servers of this protocol use, "" for anything else."""
    try:
        written: Any = json.decode(body)
    except (ValueError, RecursionError):
        return ""
    said = written.get("error") or written.get("detail") if isinstance(written, dict) else None
    return str(said) if said else ""


def _json_input(tensor: Tensor) -> JsonOutput:
    try:
        return tensor_to_json(tensor)
    except InvalidOutput as error:  # BYTES that are not UTF-8, which here are the caller's
        raise InvalidInput(str(error)) from None


def _size_of(size: Parameter, left_n: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= left_n:
        raise InvalidInput(f"binary_data_size is not within the {left_n} bytes left")
    return size
