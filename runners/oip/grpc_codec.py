"""Requests to a server and its answers over gRPC. Tensors go raw, and come back raw or as typed contents.

Source: Open Inference Protocol, gRPC API.
"""

from typing import Any

from runners.core.errors import InvalidInput, InvalidOutput
from runners.core.tensor import InferenceRequest, Parameter, Tensor
from runners.core.tensor_binary import tensor_from_binary, tensor_to_binary
from runners.oip.client import ANSWER_LIMIT_BYTES, parameters_onward
from runners.oip.contents import tensor_from_contents
from runners.oip.messages import ModelInferRequest, ModelInferResponse

_INT64 = 1 << 63


def encode_request(request: InferenceRequest, model: str, version: str, remaining_s: float) -> bytes:
    """A ModelInferRequest's bytes."""
    message: Any = ModelInferRequest(model_name=model, model_version=version, id=request.id)
    if request.parameters:
        for name, value in parameters_onward(request.parameters).items():
            _set_parameter(message.parameters[name], value)
    message.parameters["timeout"].int64_param = max(1, int(remaining_s * 1e6))
    for tensor in request.inputs:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        message.raw_input_contents.append(tensor_to_binary(tensor))
    for name in request.outputs:
        message.outputs.add(name=name)
    body: bytes = message.SerializeToString()
    return body


def decode_answer(message: ModelInferResponse) -> tuple[Tensor, ...]:
    """The tensors of an answer, in the server's order. Raises InvalidOutput."""
    raw = message.raw_output_contents
    if raw and len(raw) != len(message.outputs):
        raise InvalidOutput(
            f"the remote server's answer has {len(raw)} raw contents for {len(message.outputs)} outputs"
        )
    try:
        return tuple([_tensor(wire, raw[place] if raw else None) for place, wire in enumerate(message.outputs)])
    except InvalidInput as error:  # what the codecs say of a caller's tensors is here said of the server's
        raise InvalidOutput(f"the remote server's answer cannot be read: {error}") from None


def _set_parameter(parameter: Any, value: Parameter) -> None:
    match value:
        case bool():
            parameter.bool_param = value
        case int() if -_INT64 <= value < _INT64:
            parameter.int64_param = value
        case int() if 0 <= value < 2 * _INT64:
            parameter.uint64_param = value
        case int():
            parameter.double_param = float(value)
        case float():
            parameter.double_param = value
        case str():
            parameter.string_param = value


def _tensor(wire: ModelInferResponse.InferOutputTensor, raw: bytes | None) -> Tensor:
    name, datatype, shape = wire.name, wire.datatype, tuple(wire.shape)
    if raw is not None:
        return tensor_from_binary(name, datatype, shape, raw, limit_bytes=ANSWER_LIMIT_BYTES)
    return tensor_from_contents(name, datatype, shape, wire.contents, limit_bytes=ANSWER_LIMIT_BYTES)
