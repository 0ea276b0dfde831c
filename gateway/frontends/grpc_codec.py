"""Inference requests and answers as gRPC carries them.

Tensors come raw or as typed contents, never both in one request, and always go back raw, which every client reads.

Source: Open Inference Protocol, gRPC API.
"""

from collections.abc import Mapping, Sequence
from math import isfinite

from google.protobuf.message import DecodeError

from gateway.errors import Malformed, NotImplementedHere
from gateway.frontends.attribution import Attribution
from gateway.frontends.http_codec import CLASSIFICATION, ID_LIMIT, SHARED_MEMORY
from gateway.frontends.limits import Limits
from runners.core.tensor import NO_PARAMETERS, InferenceRequest, InferenceResponse, Parameter, Tensor
from runners.core.tensor_binary import tensor_from_binary, tensor_to_binary
from runners.oip.contents import tensor_from_contents
from runners.oip.messages import InferParameter, ModelInferRequest, ModelInferResponse

KINDS = ("string_param", "int64_param", "bool_param", "double_param", "uint64_param")


def decode_request(body: bytes | bytearray, limits: Limits) -> InferenceRequest:
    """The request that a ModelInferRequest's bytes hold. Raises Malformed, InvalidInput or NotImplementedHere."""
    try:
        message = ModelInferRequest.FromString(body)  # type: ignore[arg-type]  # it takes either
    except DecodeError:
        raise Malformed("the message is no ModelInferRequest") from None
    return request_of(message, limits)


def request_of(message: ModelInferRequest, limits: Limits) -> InferenceRequest:
    """The same, once parsed."""
    if len(message.id) > ID_LIMIT:
        raise Malformed(f"the id is longer than {ID_LIMIT} characters")
    raw = message.raw_input_contents
    inputs = message.inputs
    if raw and len(raw) != len(inputs):
        raise Malformed(f"raw_input_contents has {len(raw)} entries for {len(inputs)} inputs")
    tensors = tuple([_tensor(wire, raw[place] if raw else None, limits) for place, wire in enumerate(inputs)])
    return InferenceRequest(
        message.model_name,
        tensors,
        _wanted(message.outputs) if message.outputs else (),
        message.model_version,
        message.id,
        read_parameters(message.parameters) if message.parameters else NO_PARAMETERS,
    )


def encode_answer(attribution: Attribution, request_id: str, answer: InferenceResponse) -> bytes:
    """A ModelInferResponse's bytes: those known beforehand, then those of this answer, which protobuf reads as one."""
    message = ModelInferResponse()
    if request_id:
        message.id = request_id
    raw = message.raw_output_contents
    add = message.outputs.add
    for tensor in answer.outputs:
        add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        raw.append(tensor_to_binary(tensor))
    return attribution.grpc_head + message.SerializeToString()


def read_parameters(parameters: Mapping[str, InferParameter]) -> dict[str, Parameter]:
    """Parameters as JSON would have brought them. Raises Malformed for one without a value, or not finite."""
    return {name: _value(name, parameter) for name, parameter in parameters.items()}


def _value(name: str, parameter: InferParameter) -> Parameter:
    for kind in KINDS:
        if parameter.HasField(kind):
            value: Parameter = getattr(parameter, kind)
            if isinstance(value, float) and not isfinite(value):
                break
            return value
    raise Malformed(f"parameter '{name[:100]}' has no finite value")


def _wanted(outputs: Sequence[ModelInferRequest.InferRequestedOutputTensor]) -> tuple[str, ...]:
    for output in outputs:
        if CLASSIFICATION in output.parameters or SHARED_MEMORY in output.parameters:
            raise NotImplementedHere("the classification and shared memory extensions are not spoken here")
    return tuple([output.name for output in outputs])


def _tensor(wire: ModelInferRequest.InferInputTensor, raw: bytes | None, limits: Limits) -> Tensor:
    name, datatype, shape = wire.name, wire.datatype, tuple(wire.shape)
    if wire.parameters and SHARED_MEMORY in wire.parameters:
        raise NotImplementedHere("tensors in shared memory are not taken here")
    if raw is None:
        return tensor_from_contents(name, datatype, shape, wire.contents, limit_bytes=limits.body_bytes)
    if wire.HasField("contents"):
        raise Malformed(f"input '{name[:100]}' has its data twice, raw and as contents")
    return tensor_from_binary(name, datatype, shape, raw, limit_bytes=limits.body_bytes)
