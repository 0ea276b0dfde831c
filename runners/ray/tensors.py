"""Requests, answers and errors as frames. Both sides know the model's signature, so tensors go by their place in it.

    REQ, RES: head | wanted: count u16, outputs u16 each | metas | data of each tensor
    a meta:   place u16  datatype u8  rank u8  0 u32  bytes u64 | dimensions u64 each

Every part is padded to 16 bytes. Data is as runners/core/tensor_binary.py says. `wanted` is there if flag 1 is set. A
request's parameters, id and headers stay in the gateway: a model does not see them anywhere.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from math import prod

import numpy as np

from runners.core.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InvalidInput,
    InvalidOutput,
    NotReady,
    Overloaded,
    RunnerError,
)
from runners.core.tensor import DATATYPES, InferenceRequest, InferenceResponse, Signature, Tensor, TensorSpec
from runners.core.tensor_binary import Buffer, tensor_from_binary, tensor_to_binary
from runners.core.tensor_json import MAX_RANK
from runners.ray.frame import FRAME_BYTES, HEAD, HEAD_BYTES, LENGTH_BYTES, Frame, FrameError, Type, frame

WANTED = 1  # flag: not all outputs are asked for
JOINED_BYTES = 64 << 10  # a tensor up to here is copied behind its head; a larger one is sent from where it lies
TEXT_LENGTH = 1000  # of an error, in characters
_REQ, _RES = int(Type.REQ), int(Type.RES)  # an enum's member is found, and packed, more slowly
_META = struct.Struct("<HBBIQ")
_COUNT = struct.Struct("<H")
_U32 = 0xFFFF_FFFF
_NAMES = tuple(DATATYPES)
_CODES = {name: code for code, name in enumerate(_NAMES)}
# Itemsize and elements by code; 0 for those whose elements are looked at one by one.
_PLAIN = tuple([(0 if t.name in {"BOOL", "BYTES"} else t.itemsize, t.numpy) for t in DATATYPES.values()])
_PADS = tuple(bytes(n) for n in range(16))
_ERRORS: Mapping[str, type[RunnerError]] = {
    kind.code: kind for kind in (InvalidInput, NotReady, Overloaded, DeadlineExceeded, ExecutionFailed, InvalidOutput)
}


class Wire:
    """Both directions of one model's frames. A request must have passed the model's InputCheck."""

    def __init__(self, signature: Signature) -> None:
        self._inputs = _Places(signature.inputs)
        self._outputs = _Places(signature.outputs)

    def request(self, request: InferenceRequest, id_: int, left_ms: int) -> list[Buffer]:
        """The parts of a REQ, `left_ms` before its deadline."""
        wanted = self._wanted(request.outputs) if request.outputs else b""
        # Below zero if the machine was busy since the deadline was looked at: then the replica says that it has passed.
        fields = (_REQ, WANTED if wanted else 0, id_, max(0, min(left_ms, _U32)), 0)
        return _written(fields, wanted, request.inputs, self._inputs.codes)

    def read_request(self, received: Frame, model: str) -> InferenceRequest:
        """Raises FrameError for what is no REQ of this model, InvalidInput for tensors that are none."""
        at = HEAD_BYTES
        wanted: tuple[str, ...] = ()
        try:
            if received.flags & WANTED:
                wanted, at = self._read_wanted(received.body)
            return InferenceRequest(model, _read(received, at, self._inputs.specs), wanted)
        except (struct.error, IndexError) as error:
            raise FrameError(f"a request that cannot be read: {error}") from None

    def response(self, response: InferenceResponse, id_: int) -> list[Buffer]:
        queued_us = min(int(response.queued_s * 1e6), _U32)
        fields = (_RES, 0, id_, queued_us, min(response.batch_rows, _U32))
        return _written(fields, b"", response.outputs, self._outputs.codes)

    def read_response(self, received: Frame) -> InferenceResponse:
        """Raises FrameError for whatever is wrong with it."""
        try:
            outputs = _read(received, HEAD_BYTES, self._outputs.specs)
        except (struct.error, IndexError, InvalidInput) as error:
            raise FrameError(f"an answer that cannot be read: {error}") from None
        return InferenceResponse(outputs, received.b, received.a * 1e-6)

    def _wanted(self, names: tuple[str, ...]) -> bytes:
        codes = self._outputs.codes
        packed = struct.pack(f"<{len(names) + 1}H", len(names), *[codes[name] for name in names])
        return packed + _pad(len(packed))

    def _read_wanted(self, body: Buffer) -> tuple[tuple[str, ...], int]:
        (count,) = _COUNT.unpack_from(body, HEAD_BYTES)
        places = struct.unpack_from(f"<{count}H", body, HEAD_BYTES + _COUNT.size)
        specs = self._outputs.specs
        return tuple([specs[place].name for place in places]), HEAD_BYTES + _padded(_COUNT.size * (count + 1))


class _Places:
    """Tensors of one side of a signature, by place and by name."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self.specs = specs
        self.codes = {spec.name: place for place, spec in enumerate(specs)}


def error_frame(id_: int, error: BaseException) -> bytes:
    """An ERR: a RunnerError as it is, anything else as the model's own failure."""
    if isinstance(error, RunnerError) and error.code in _ERRORS:
        code, text = error.code, str(error)
    else:
        code, text = ExecutionFailed.code, f"{type(error).__name__}: {error}"
    payload = f"{code}\n{text[:TEXT_LENGTH]}".encode("utf-8", "replace")
    return frame(Type.ERR, payload, id_=id_)


def read_error(received: Frame) -> RunnerError:
    code, _, text = bytes(received.payload[: 8 * TEXT_LENGTH]).decode("utf-8", "replace").partition("\n")
    return _ERRORS.get(code, ExecutionFailed)(text)


def _written(
    fields: tuple[int, int, int, int, int], wanted: bytes, tensors: Sequence[Tensor], places: Mapping[str, int]
) -> list[Buffer]:
    """A frame with tensors, as parts to be sent one after the other."""
    kind, flags, id_, a, b = fields
    if len(tensors) == 1 and not wanted and tensors[0].datatype != "BYTES":
        tensor = tensors[0]
        shape = tensor.array.shape
        whole, length = _single(len(shape))
        nbytes = tensor.array.nbytes
        code = _CODES[tensor.datatype]
        place = places[tensor.name]
        head = whole.pack(length + nbytes, kind, flags, 1, id_, a, b, place, code, len(shape), 0, nbytes, *shape)
        return [head + tensor.array.tobytes()] if nbytes <= JOINED_BYTES else [head, _raw(tensor)]
    metas, parts = [wanted], []
    for tensor in tensors:
        raw = _raw(tensor)
        shape = tensor.array.shape
        meta = _META.pack(places[tensor.name], _CODES[tensor.datatype], len(shape), 0, len(raw))
        metas += [meta, struct.pack(f"<{len(shape)}Q", *shape), _PADS[8 * (len(shape) & 1)]]
        parts += [raw, _pad(len(raw))]
    length = HEAD_BYTES + sum(map(len, metas)) + sum(map(len, parts))
    head = HEAD.pack(length, kind, flags, len(tensors), id_, a, b)
    if length <= JOINED_BYTES:
        return [b"".join((head, *metas, *parts))]
    return [head + b"".join(metas), *[part for part in parts if len(part)]]


@cache  # as many as ranks
def _single(rank: int) -> tuple[struct.Struct, int]:
    """Head and meta of a frame with one tensor of this rank, and the bytes of both without the length."""
    packed = struct.Struct(f"<IBBHIIIHBBIQ{rank}Q{8 * (rank & 1)}x")
    return packed, packed.size - LENGTH_BYTES


def _raw(tensor: Tensor) -> Buffer:
    array = tensor.array
    if tensor.datatype == "BYTES" or array.nbytes <= JOINED_BYTES:
        return tensor_to_binary(tensor)
    contiguous = np.ascontiguousarray(array)
    return contiguous.data.cast("B")


def _read(received: Frame, at: int, specs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    """The tensors whose metas begin at `at`. Raises struct.error, IndexError, FrameError and InvalidInput."""
    body = received.body
    if received.tensors_n == 1:
        place, code, rank, _, size = _META.unpack_from(body, at)
        at += _META.size
        start = at + 8 * (rank + (rank & 1))
        _check(rank, code, start + size, len(body))
        shape = _dimensions(rank).unpack_from(body, at)
        itemsize, dtype = _PLAIN[code]
        if itemsize and 0 < size == prod(shape) * itemsize:
            return (Tensor(specs[place].name, _NAMES[code], np.ndarray(shape, dtype, body, start)),)
        raw = memoryview(body)[start : start + size]
        return (tensor_from_binary(specs[place].name, _NAMES[code], shape, raw, limit_bytes=FRAME_BYTES),)
    return _read_many(memoryview(body), at, received.tensors_n, specs)


def _read_many(body: memoryview, at: int, count: int, specs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    metas = []
    for _ in range(count):
        place, code, rank, _, size = _META.unpack_from(body, at)
        _check(rank, code, size, len(body))
        metas.append((specs[place].name, _NAMES[code], _dimensions(rank).unpack_from(body, at + _META.size), size))
        at += _META.size + 8 * (rank + (rank & 1))
    tensors = []
    for name, datatype, shape, size in metas:
        _check(0, 0, at + size, len(body))
        tensors.append(tensor_from_binary(name, datatype, shape, body[at : at + size], limit_bytes=FRAME_BYTES))
        at = _padded(at + size)
    return tuple(tensors)


@cache  # as many as ranks
def _dimensions(rank: int) -> struct.Struct:
    return struct.Struct(f"<{rank}Q")


def _check(rank: int, code: int, end: int, length: int) -> None:
    if rank > MAX_RANK or code >= len(_NAMES) or end > length:
        raise FrameError(f"a tensor of rank {rank} and datatype {code} that would end at {end} of {length} bytes")


def _padded(length: int) -> int:
    return (length + 15) & ~15


def _pad(length: int) -> bytes:
    return _PADS[-length & 15]
