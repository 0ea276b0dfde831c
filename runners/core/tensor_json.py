"""Tensors in the JSON of the Open Inference Protocol, both ways.

Strict: a value is taken only if the declared datatype holds it exactly as written, but for the rounding that reading a
decimal as FP32 or FP64 always means. Nothing is cast, truncated or wrapped. `data` is flat or nested as the shape says.

JSON has no NaN, so `null` in FP32 and FP64 reads as NaN, and NaN, Inf and -Inf are written as `null`. FP16 and BF16
have no JSON form at all. BYTES are strings, their elements the strings' UTF-8.

Source: Open Inference Protocol, tensor data; refusal of FP16 in JSON as in Triton's binary tensor data extension.
"""

import math
import struct
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from runners.core.errors import InvalidInput, InvalidOutput, quoted
from runners.core.tensor import DATATYPES, NO_PARAMETERS, Parameter, Tensor

MAX_RANK = 32
DEFAULT_LIMIT_BYTES = 64 << 20
_POINTER_BYTES = 8  # what an element of BYTES takes in an array, before its own bytes
_NO_DATA = Raw(b"")
_CODES = {  # of the struct module; packing checks every element's range
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP32": "f",
    "FP64": "d",
}
_ELEMENTS: dict[str, Any] = {"BOOL": bool, "FP32": float, "FP64": float, "BYTES": str}  # all others are int
_OPENING = ord("[")
_BLANKS = b" \t\r\n"


class JsonTensor(Struct, gc=False):
    """A tensor as a request's body holds it; `data` is still text, "" when the tensor travels in binary."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: Raw = _NO_DATA
    parameters: dict[str, Parameter] = {}


class JsonOutput(Struct, gc=False, omit_defaults=True):
    """A tensor as an answer's body holds it, ready for msgspec's encoder; `data` is flat, None when in binary."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Any = NO_PARAMETERS
    data: list[Any] | None = None


def tensor_from_json(wire: JsonTensor, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> Tensor:
    """The tensor that `wire` describes; its array is read-only. Raises InvalidInput and nothing else.

    `limit_bytes` bounds the tensor, not the text: twenty characters can declare terabytes.
    """
    datatype, shape = wire.datatype, wire.shape
    count = count_elements(wire.name, datatype, shape, limit_bytes)
    code = _CODES.get(datatype)
    if code is None and datatype != "BYTES":
        raise InvalidInput(f"tensor {quoted(wire.name)}: {datatype} has no JSON form; send it as binary tensor data")
    values = _read(wire, count)
    if code is None:
        return Tensor(wire.name, datatype, _bytes_array(values, shape))
    try:
        packed = struct.pack(f"<{count}{code}", *values)
    except (struct.error, OverflowError):
        raise InvalidInput(f"tensor {quoted(wire.name)} holds a value out of {datatype}'s range") from None
    return Tensor(wire.name, datatype, np.ndarray(shape, DATATYPES[datatype].numpy, packed))


def tensor_to_json(tensor: Tensor) -> JsonOutput:
    """`tensor` as msgspec's JSON encoder takes it, which writes NaN and Inf as null.

    Raises InvalidInput for FP16 and BF16, for it was the caller who did not ask for binary data, and InvalidOutput for
    BYTES that are not UTF-8, for that is the model's doing.
    """
    datatype = tensor.datatype
    array = tensor.array
    if datatype in _CODES:
        return JsonOutput(tensor.name, datatype, array.shape, NO_PARAMETERS, array.ravel().tolist())
    if datatype != "BYTES":
        raise InvalidInput(
            f"tensor {quoted(tensor.name)}: {datatype} has no JSON form; ask for it as binary tensor data"
        )
    try:
        texts = [element.decode() for element in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise InvalidOutput(
            f"tensor {quoted(tensor.name)} holds bytes that are not UTF-8 and have no JSON form; ask for it as binary"
        ) from None
    return JsonOutput(tensor.name, datatype, array.shape, NO_PARAMETERS, texts)


def count_elements(name: str, datatype: str, shape: tuple[int, ...], limit_bytes: int) -> int:
    """How many elements a tensor of this shape has, after all that can be wrong with it; nothing is allocated.

    Raises InvalidInput.
    """
    known = DATATYPES.get(datatype)
    if known is None:
        raise InvalidInput(f"tensor {quoted(name)} has datatype {quoted(datatype)}, known are {', '.join(DATATYPES)}")
    limit = limit_bytes // (known.itemsize or _POINTER_BYTES)
    count = math.prod(shape)  # of Python's integers, which do not overflow
    if len(shape) > MAX_RANK:
        raise InvalidInput(f"tensor {quoted(name)} has {len(shape)} dimensions, at most {MAX_RANK} are taken")
    if shape and (count <= 0 or count > limit or min(shape) < 0):
        _check_dimensions(name, shape, limit)
    return count


def _check_dimensions(name: str, shape: tuple[int, ...], limit: int) -> None:
    """The others are bounded also beside a zero: numpy, and whoever comes after it, multiplies them all the same."""
    if min(shape) < 0:
        raise InvalidInput(f"tensor {quoted(name)} has a negative dimension")
    if math.prod([size for size in shape if size]) > limit:
        raise InvalidInput(f"tensor {quoted(name)} declares more than the {limit} elements that are taken")


def _read(wire: JsonTensor, count: int) -> list[Any]:
    """The elements of `data`, flat, each of the type that the datatype asks for."""
    data = memoryview(wire.data)
    depth = _depth(data)
    rank = len(wire.shape)
    if not data:
        raise InvalidInput(f"tensor {quoted(wire.name)} has no data")
    if depth not in (1, rank):
        raise InvalidInput(
            f"tensor {quoted(wire.name)} has data nested {depth} deep, expected a flat list or {rank} deep"
        )
    element = _ELEMENTS.get(wire.datatype, int)
    try:
        values = _decoder(element, depth).decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        values = _with_nulls(wire, depth, error)
    if depth == 0:
        values = [values]
    elif depth > 1:
        values = _flat(wire, values)
    if len(values) != count:
        raise InvalidInput(
            f"tensor {quoted(wire.name)} has {len(values)} elements, shape {list(wire.shape)} needs {count}"
        )
    return values  # type: ignore[no-any-return]


def _with_nulls(wire: JsonTensor, depth: int, error: Exception) -> Any:
    """Read floats once more with `null` as NaN; anything else is reported as `error` says."""
    if _ELEMENTS.get(wire.datatype) is not float or b"null" not in bytes(wire.data):
        raise InvalidInput(f"tensor {quoted(wire.name)} is not {wire.datatype} data: {error}") from None
    try:
        values = _decoder(float | None, depth).decode(wire.data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as again:
        raise InvalidInput(f"tensor {quoted(wire.name)} is not {wire.datatype} data: {again}") from None
    return _filled(values)


def _filled(values: Any) -> Any:
    if isinstance(values, list):
        return [_filled(value) for value in values]
    return math.nan if values is None else values


def _flat(wire: JsonTensor, values: list[Any]) -> list[Any]:
    """Nested lists as one, after a look that every list is as long as the shape says."""
    shape = wire.shape
    for size in shape[1:]:
        for inner in values:
            if len(inner) != size:
                raise InvalidInput(
                    f"tensor {quoted(wire.name)} has data that is not nested as shape {list(shape)} says"
                )
        values = values[0] if len(values) == 1 else list(chain.from_iterable(values))
    return values


def _depth(data: memoryview) -> int:
    """How many brackets open before the first element; counting ends where it could no longer fit."""
    depth = 0
    for byte in data:
        if byte == _OPENING:
            depth += 1
        elif byte not in _BLANKS:
            break
        if depth > MAX_RANK:
            break
    return depth


@cache  # as many as datatypes times ranks
def _decoder(element: Any, depth: int) -> Decoder[Any]:
    expected = element
    for _ in range(depth):
        expected = list[expected]  # type: ignore[valid-type]
    return Decoder(expected)


def _bytes_array(values: list[str], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = [value.encode() for value in values]
    array.flags.writeable = False
    return array.reshape(shape)
