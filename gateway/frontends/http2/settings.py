"""What we announce, and what a peer's SETTINGS frame asks of us. The rest of it bounds what
we never do: push, use a table, write long heads.

Source: RFC 9113, section 6.5.2.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from gateway.frontends.http2.frames import (
    ENABLE_PUSH,
    FRAME_BYTES,
    FRAME_BYTES_MOST,
    FRAME_LIMIT,
    HEADER_LIST_LIMIT,
    INITIAL_WINDOW,
    MAX_STREAMS,
    WINDOW_MOST,
    Code,
    ConnectionFault,
    pack_setting,
    unpack_settings,
)
from gateway.frontends.http2.headers import LIST_BYTES
from gateway.frontends.http2.inbound import STREAM_WINDOW

SETTING_BYTES: Final = 6
STREAMS_LIMIT: Final = 512  # of one connection at once
OUR_SETTINGS: Final = (
    (MAX_STREAMS, STREAMS_LIMIT),
    (INITIAL_WINDOW, STREAM_WINDOW),
    (HEADER_LIST_LIMIT, LIST_BYTES),
)


class PeerSettings(Struct, frozen=True):
    """None where the frame says nothing of it."""

    stream_window: int | None
    frame_bytes: int | None


def write_settings(settings: Iterable[tuple[int, int]]) -> bytes:
    """A frame's payload."""
    return b"".join([pack_setting(*setting) for setting in settings])


def read_settings(payload: bytes) -> PeerSettings:
    """Read a frame's payload; of a setting that stands in it twice the latter counts. Raises ConnectionFault."""
    if len(payload) % SETTING_BYTES:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a SETTINGS frame has a length that cannot be")
    said: dict[int, int] = dict(unpack_settings(payload))
    window, frame_bytes = said.get(INITIAL_WINDOW), said.get(FRAME_LIMIT)
    if window is not None and window > WINDOW_MOST:
        raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the initial window is wider than the widest")
    if frame_bytes is not None and not FRAME_BYTES <= frame_bytes <= FRAME_BYTES_MOST:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "the largest frame has a size that cannot be")
    if said.get(ENABLE_PUSH, 0) > 1:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
    return PeerSettings(window, frame_bytes)
