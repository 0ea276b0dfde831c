"""Tensors as the gateway carries them, and the Open Inference Protocol's datatypes.

Source: Open Inference Protocol, required API, tensor data types; BF16 from Triton's dialect.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Parameter = str | int | float | bool
NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})
NO_CONTEXT: Mapping[str, str] = MappingProxyType({})
_BYTES_OBJECT = 33  # what CPython spends on a bytes object beside its content
_LOOKED_AT_N = 4096  # some 0.1 ms; a million texts would hold up the event loop for 30


class Datatype(Struct, frozen=True):
    """One row of the protocol's table of datatypes.

    `numpy` is how elements are held: BYTES as an object array of `bytes`, BF16 as its bit patterns in uint16.
    `itemsize` is in bytes on the wire, 0 where it varies. `onnx` is ONNX Runtime's name of the tensor type.
    """

    name: str
    numpy: np.dtype[Any]
    onnx: str
    itemsize: int


def _datatype(name: str, numpy: str, onnx: str) -> Datatype:
    dtype = np.dtype(numpy)
    return Datatype(name, dtype, f"tensor({onnx})", 0 if dtype.hasobject else dtype.itemsize)


DATATYPES: Mapping[str, Datatype] = MappingProxyType(
    {
        row[0]: _datatype(*row)
        for row in (
            ("BOOL", "?", "bool"),
            ("UINT8", "<u1", "uint8"),
            ("UINT16", "<u2", "uint16"),
            ("UINT32", "<u4", "uint32"),
            ("UINT64", "<u8", "uint64"),
            ("INT8", "<i1", "int8"),
            ("INT16", "<i2", "int16"),
            ("INT32", "<i4", "int32"),
            ("INT64", "<i8", "int64"),
            ("FP16", "<f2", "float16"),
            ("BF16", "<u2", "bfloat16"),
            ("FP32", "<f4", "float"),
            ("FP64", "<f8", "double"),
            ("BYTES", "O", "string"),
        )
    }
)


class Tensor(Struct, frozen=True, eq=False, gc=False):
    """A named array. `datatype` is a key of DATATYPES, `array` holds elements as that row says, of any shape."""

    name: str
    datatype: str
    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


class TensorSpec(Struct, frozen=True):
    """What a model declares of one input or output. A dimension of -1 may have any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Signature(Struct, frozen=True):
    """A model's inputs and outputs, in its own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class InferenceRequest(Struct, frozen=True, eq=False, gc=False):
    """One request to a route. `outputs` names the tensors wanted, () all; `version` and `id` are "" when absent.

    `context` are headers that go onward to whoever is asked in turn, names in lower case.
    """

    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()
    version: str = ""
    id: str = ""
    parameters: Mapping[str, Parameter] = NO_PARAMETERS
    context: Mapping[str, str] = NO_CONTEXT


class InferenceResponse(Struct, frozen=True, eq=False, gc=False):
    """What a model answered: the tensors asked for, in the order asked for.

    `batch_rows` are the rows of the run that made it and `queued_s` the wait for that run; 0 where nothing is batched.
    `run` is that run's number among those of its endpoint, 0 for one that nobody else can have been in.
    """

    outputs: tuple[Tensor, ...]
    batch_rows: int = 0
    queued_s: float = 0.0
    run: int = 0


def rows_of(request: InferenceRequest) -> int:
    """How many predictions a request asks for: the first dimension of its first input, 1 for a scalar."""
    shape = request.inputs[0].array.shape if request.inputs else ()
    return shape[0] if shape else 1


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """The memory that tensors hold, in bytes; texts count with their objects, not as the pointers to them alone.

    Of many texts at most _LOOKED_AT_N are looked at, spread evenly, and the others taken to be like them.
    """
    return sum([_bytes_of(tensor.array) for tensor in tensors])


def _bytes_of(array: NDArray[Any]) -> int:
    if not array.dtype.hasobject:
        return array.nbytes
    looked_at = array.reshape(-1)[:: array.size // _LOOKED_AT_N + 1].tolist()
    content = sum(map(len, looked_at)) * array.size // max(1, len(looked_at))
    return array.nbytes + _BYTES_OBJECT * array.size + content
