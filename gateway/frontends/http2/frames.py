"""Frames of HTTP/2: their kinds, how they are cut out of a stream of bytes, and what may be wrong with them.

Source: RFC 9113, sections 4, 6 and 7.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM: Final = 0x1  # of DATA and HEADERS
ACK: Final = 0x1  # of SETTINGS and PING
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, FRAME_LIMIT, HEADER_LIST_LIMIT = range(1, 7)  # settings

HEAD_BYTES: Final = 9
NUMBER_BYTES: Final = 4
FRAME_BYTES: Final = 16_384  # of payload: what every peer must take, and all that we take
FRAME_BYTES_MOST: Final = (1 << 24) - 1
WINDOW_BYTES: Final = 65_535  # before anybody says otherwise
WINDOW_MOST: Final = (1 << 31) - 1
STREAM_MASK: Final = (1 << 31) - 1

pack_head: Final = Struct(">HBBBI").pack  # length in two parts, kind, flags, stream
unpack_head: Final = Struct(">HBBBI").unpack_from
pack_number: Final = Struct(">I").pack
unpack_number: Final = Struct(">I").unpack_from
pack_setting: Final = Struct(">HI").pack
unpack_settings: Final = Struct(">HI").iter_unpack


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFault(Exception):
    """The peer broke the protocol in a way after which nothing it says can be trusted."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


class StreamFault(Exception):
    """One stream cannot go on; the others can."""

    def __init__(self, stream_id: int, code: Code) -> None:
        super().__init__(f"stream {stream_id}: {code.name}")
        self.stream_id, self.code = stream_id, code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame; the payload is at most FRAME_BYTES_MOST long."""
    length = len(payload)
    return pack_head(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


class FrameReader:
    """Cuts frames out of bytes that come in any pieces. It holds less than one frame."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of each frame that is complete. Raises ConnectionFault for one too long."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= HEAD_BYTES:
            high, low, kind, flags, stream_id = unpack_head(data, at)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame is longer than {FRAME_BYTES} bytes")
            begin = at + HEAD_BYTES
            if end - begin < length:
                break
            at = begin + length
            yield kind, flags, stream_id & STREAM_MASK, data[begin:at]
        self._rest = data[at:] if at else data


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a DATA or HEADERS frame carries, without its padding. Raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame has more padding than content")
    return payload[1 : len(payload) - payload[0]]


def number_of(payload: bytes) -> int:
    """What a frame of one number carries. Raises ConnectionFault."""
    if len(payload) != NUMBER_BYTES:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of one number has {NUMBER_BYTES} bytes")
    number: int = unpack_number(payload)[0]
    return number
