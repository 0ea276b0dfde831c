"""Tensors in the raw form that HTTP's binary data and gRPC's raw contents share, both ways.

Row-major and little-endian without padding. BOOL is one byte, 0 or 1. An element of BYTES is its length in four bytes,
unsigned, and then itself. Fixed-size elements are read where they lie: the array is a view of the buffer.

Source: Triton Inference Server, binary tensor data extension.
"""

import struct

import numpy as np

from runners.core.errors import InvalidInput, quoted
from runners.core.tensor import DATATYPES, Tensor
from runners.core.tensor_json import DEFAULT_LIMIT_BYTES, count_elements

_LENGTH = struct.Struct("<I")

Buffer = bytes | bytearray | memoryview


def tensor_from_binary(
    name: str, datatype: str, shape: tuple[int, ...], buffer: Buffer, *, limit_bytes: int = DEFAULT_LIMIT_BYTES
) -> Tensor:
    """The tensor whose elements are all of `buffer`. Raises InvalidInput and nothing else."""
    count = count_elements(name, datatype, shape, limit_bytes)
    known = DATATYPES[datatype]
    if datatype == "BYTES":
        return Tensor(name, datatype, _read_bytes(name, count, memoryview(buffer)).reshape(shape))
    size = count * known.itemsize
    if len(buffer) != size:
        raise InvalidInput(
            f"tensor {quoted(name)} has {len(buffer)} bytes, {datatype} of shape {list(shape)} needs {size}"
        )
    if datatype == "BOOL" and count and np.frombuffer(buffer, np.uint8).max() > 1:
        raise InvalidInput(f"tensor {quoted(name)} holds a byte that is no BOOL; 0 and 1 are")
    return Tensor(name, datatype, np.ndarray(shape, known.numpy, buffer))


def tensor_to_binary(tensor: Tensor) -> bytes:
    """The elements of `tensor` as they travel."""
    if tensor.datatype != "BYTES":
        return tensor.array.tobytes()
    parts: list[bytes] = []
    for element in tensor.array.ravel().tolist():
        parts.append(_LENGTH.pack(len(element)))
        parts.append(element)
    return b"".join(parts)


def _read_bytes(name: str, count: int, buffer: memoryview) -> np.ndarray:
    end = len(buffer)
    # Each element takes four bytes at least, so a buffer bounds the count before anything is allocated.
    if count * _LENGTH.size > end:
        raise InvalidInput(f"tensor {quoted(name)} has {end} bytes, too few for the lengths of {count} elements")
    array = np.empty(count, dtype=object)
    at = 0
    for index in range(count):
        start = at + _LENGTH.size
        if start > end:
            raise InvalidInput(f"tensor {quoted(name)} ends within the length of element {index}")
        at = start + _LENGTH.unpack_from(buffer, start - _LENGTH.size)[0]
        if at > end:
            raise InvalidInput(f"tensor {quoted(name)} ends within element {index}")
        array[index] = bytes(buffer[start:at])
    if at != end:
        raise InvalidInput(f"tensor {quoted(name)} has {end - at} bytes left over after {count} elements")
    array.flags.writeable = False
    return array
