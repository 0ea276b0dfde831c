"""A model file without its weights: the skeleton.

Parsing a whole model only to look at its nodes would copy every weight, and hold the interpreter while doing so; the
parser of protobuf does both. So the file is walked once, lazily, and what is long and not asked about is left behind.

Source: Protocol Buffers, encoding.
"""

import mmap

from runners.onnx.schema import MESSAGES, PAYLOAD_FIELD

SKELETON_LIMIT_BYTES = 64 << 20  # some half a million nodes
_SHORT_BYTES = 1024  # what is shorter is copied whole: looking into it would cost more
_DEPTH_LIMIT = 100  # as protobuf's own
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10

_NESTED = {
    message: {number: kind for number, _, kind in fields.values() if kind in MESSAGES}
    for message, fields in MESSAGES.items()
}
_DECLARED = {message: frozenset(number for number, _, _ in fields.values()) for message, fields in MESSAGES.items()}

View = bytes | mmap.mmap


class Malformed(Exception):
    """The bytes are not a protobuf message; the text says what is wrong with them."""


def skeleton(view: View) -> bytes:
    """The serialized ModelProto in `view` less its long payloads, their sizes noted beside them. Raises Malformed."""
    return b"".join(_Walk(view).message("ModelProto", 0, len(view), 0))


class _Walk:
    def __init__(self, view: View) -> None:
        self._view = view
        self._kept_bytes = 0

    def message(self, kind: str, at: int, end: int, depth: int) -> list[bytes]:
        """The parts of one message that are kept, in order."""
        if depth > _DEPTH_LIMIT:
            raise Malformed(f"it nests deeper than {_DEPTH_LIMIT} messages")
        parts: list[bytes] = []
        left_out = 0
        declared, nested = _DECLARED[kind], _NESTED[kind]
        while at < end:
            start = at
            tag, body = self._varint(at, end)
            number = tag >> 3
            body, at = self._extent(tag & 7, body, end)
            if number not in declared and (kind == "TensorProto" or at - start > _SHORT_BYTES):
                left_out += at - start
            elif number in nested and at - body > _SHORT_BYTES:
                inside = self.message(nested[number], body, at, depth + 1)
                self._keep(parts, _encode(tag) + _encode(sum(map(len, inside))))
                parts.extend(inside)
            else:
                self._keep(parts, self._view[start:at])
        if left_out and kind == "TensorProto":
            parts.append(_encode(PAYLOAD_FIELD << 3) + _encode(left_out))
        return parts

    def _keep(self, parts: list[bytes], part: bytes) -> None:
        self._kept_bytes += len(part)
        if self._kept_bytes > SKELETON_LIMIT_BYTES:
            raise Malformed(f"its graph alone is above {SKELETON_LIMIT_BYTES} bytes")
        parts.append(part)

    def _extent(self, wire_type: int, at: int, end: int) -> tuple[int, int]:
        """Where the value of a field begins and ends; `at` is what follows its tag."""
        if wire_type == _VARINT:
            return at, self._varint(at, end)[1]
        if wire_type == _DELIMITED:
            length, at = self._varint(at, end)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise Malformed(f"it has a field of wire type {wire_type}, which ONNX does not use")
        if at + length > end:
            raise Malformed("it ends before it should; the file may be truncated")
        return at, at + length

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        view = self._view
        value = shift = 0
        for index in range(at, min(at + _VARINT_BYTES, end)):
            byte = view[index]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, index + 1
            shift += 7
        raise Malformed("it ends before it should; the file may be truncated")


def _encode(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
