"""Inference requests and answers as gRPC carries them.

Tensors come raw or as typed contents, never both in one request, and always go back raw, which every client reads.

Source: Open Inference Protocol, gRPC API.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from gateway.errors import Malformed, NotImplementedHere
from gateway.frontends.attribution import Attribution
from gateway.frontends.http_codec import CLASSIFICATION, ID_LIMIT, SHARED_MEMORY
from gateway.frontends.limits import Limits
from runners.core.errors import InvalidInput
from runners.core.tensor import DATATYPES, NO_PARAMETERS, InferenceRequest, InferenceResponse, Parameter, Tensor
from runners.core.tensor_binary import tensor_from_binary, tensor_to_binary
from runners.core.tensor_json import count_elements
from runners.oip.messages import InferParameter, ModelInferRequest, ModelInferResponse

CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
WIDE: Mapping[str, type[np.generic]] = {  # what protobuf carries where it has no type as narrow
    "INT8": np.int32,
    "INT16": np.int32,
    "UINT8": np.uint32,
    "UINT16": np.uint32,
}
KINDS = ("string_param", "int64_param", "bool_param", "double_param", "uint64_param")


def decode_request(body: bytes, limits: Limits) -> InferenceRequest:
    """The request that a ModelInferRequest's bytes hold. Raises Malformed, InvalidInput or NotImplementedHere."""
    try:
        message = ModelInferRequest.FromString(body)
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
        return _typed_tensor(wire, name, datatype, shape, limits)
    if wire.HasField("contents"):
        raise Malformed(f"input '{name[:100]}' has its data twice, raw and as contents")
    return tensor_from_binary(name, datatype, shape, raw, limit_bytes=limits.body_bytes)


def _typed_tensor(
    wire: ModelInferRequest.InferInputTensor, name: str, datatype: str, shape: tuple[int, ...], limits: Limits
) -> Tensor:
    count = count_elements(name, datatype, shape, limits.body_bytes)
    field = CONTENTS.get(datatype)
    if field is None:
        raise InvalidInput(f"input '{name[:100]}': {datatype} travels in raw_input_contents only")
    filled = [descriptor.name for descriptor, _ in wire.contents.ListFields()]
    if filled not in ([field], []):
        raise InvalidInput(f"input '{name[:100]}' of {datatype} belongs in {field}, not {', '.join(filled)}")
    values = getattr(wire.contents, field)
    if len(values) != count:
        raise InvalidInput(f"input '{name[:100]}' has {len(values)} elements, shape {list(shape)} needs {count}")
    return Tensor(name, datatype, _array(name, datatype, values).reshape(shape))


def _array(name: str, datatype: str, values: Sequence[bool] | Sequence[float] | Sequence[bytes]) -> NDArray[Any]:
    if datatype == "BYTES":
        array = np.empty(len(values), dtype=object)
        array[:] = list(values)
        return array
    held = DATATYPES[datatype].numpy
    sent = np.array(values, dtype=WIDE.get(datatype, held))  # numpy wraps what does not fit, without a word
    array = sent.astype(held, copy=False)
    if array is not sent and not np.array_equal(array, sent):
        raise InvalidInput(f"input '{name[:100]}' holds a value out of {datatype}'s range")
    return array
