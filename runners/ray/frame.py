"""Frames: what gateway and replica say to each other, as bytes. Nothing here reads or writes.

    length u32 | type u8  flags u8  tensors u16  id u32  a u32  b u32 | payload

Little-endian. `length` counts what follows it. `a` and `b` mean something in three types: milliseconds left and nothing
in REQ, microseconds queued and rows of the run in RES, calls under way and those of them that wait in PONG. The head
has 16 bytes, so that a payload which begins with aligned tensors stays aligned in a body that is.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from msgspec import Struct

VERSION = 1
GREETING_BYTES = 4096  # the longest frame of one who has not shown a secret yet
FRAME_BYTES = 256 << 20
BUFFER_BYTES = 256 << 10
SHARED_BYTES = 64 << 10  # a longer frame is read into memory of its own, not through the buffer all share

HEAD = struct.Struct("<IBBHIII")  # the length too
LENGTH_BYTES = 4
HEAD_BYTES = HEAD.size - LENGTH_BYTES
_FIELDS = struct.Struct("<BBHIII")


class Type(IntEnum):
    """What a frame is about. HELLO, OK, RES, ERR, PONG and GOAWAY come from the replica."""

    HELLO = 1  # version and nonce
    AUTH = 2  # nonce and proof of the secret
    OK = 3  # proof of the secret, and what the model is
    REQ = 4
    RES = 5
    ERR = 6  # code and text; id 0 is about the connection
    PING = 7
    PONG = 8  # also by itself, as a sign of life
    GOAWAY = 9  # ask nothing more here; what was asked is answered
    CANCEL = 10  # nobody waits for this id any more


_FIRST, _LAST = int(min(Type)), int(max(Type))


class FrameError(Exception):
    """The bytes are no frames of this protocol; nothing that follows them can be trusted."""


class Frame(Struct, gc=False):
    """One frame. `body` begins with the head, and belongs to the frame alone."""

    type: int
    flags: int
    tensors_n: int
    id: int
    a: int
    b: int
    body: bytearray | memoryview

    @property
    def payload(self) -> memoryview:
        return memoryview(self.body)[HEAD_BYTES:]


def frame(kind: Type, payload: bytes = b"", *, id_: int = 0, a: int = 0, b: int = 0) -> bytes:
    """A frame without tensors."""
    return HEAD.pack(HEAD_BYTES + len(payload), kind, 0, 0, id_, a, b) + payload


class FrameReader:
    """Cuts what arrives into frames. `limit` bounds a frame, and what is allocated for it, and may be raised meanwhile.

    Write into `buffer()`, tell `received` how much, and take the frames.
    """

    def __init__(self, limit: int = GREETING_BYTES) -> None:
        self.limit = limit
        self._shared = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._shared)
        self._end = 0  # of what the shared buffer holds
        self._large: memoryview | None = None  # the body of a long frame, and how much of it is there
        self._large_end = 0

    def buffer(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if self._large is not None:
            return self._large[self._large_end :]
        return self._view[self._end :]

    def received(self, count: int) -> Iterator[Frame]:
        """The frames that are whole now. Raises FrameError, after which the reader must not be used."""
        if self._large is None:
            self._end += count
            return self._cut()
        self._large_end += count
        if self._large_end < len(self._large):
            return iter(())
        body, self._large = self._large, None
        kind, flags, tensors_n, id_, a, b = _FIELDS.unpack_from(body)
        return iter((Frame(kind, flags, tensors_n, id_, a, b, body),))

    @property
    def is_within_frame(self) -> bool:
        return self._large is not None or self._end > 0

    def _cut(self) -> Iterator[Frame]:
        at, end, shared = 0, self._end, self._shared
        while end - at >= HEAD.size:
            length, kind, flags, tensors_n, id_, a, b = HEAD.unpack_from(shared, at)
            if not HEAD_BYTES <= length <= self.limit:
                raise FrameError(f"a frame of {length} bytes, {HEAD_BYTES} to {self.limit} are taken")
            if not _FIRST <= kind <= _LAST:
                raise FrameError(f"a frame of type {kind}, which this version does not have")
            start = at + LENGTH_BYTES
            if end - start < length:
                if length > SHARED_BYTES:
                    self._begin_large(length, self._view[start:end])
                    at = end
                break
            at = start + length
            yield Frame(kind, flags, tensors_n, id_, a, b, shared[start:at])
        self._end = end - at
        if at and self._end:
            shared[: self._end] = shared[at:end]

    def _begin_large(self, length: int, beginning: memoryview) -> None:
        # numpy's memory is aligned, and not written to before it is used
        self._large = memoryview(np.empty(length, np.uint8).data)
        self._large_end = len(beginning)
        self._large[: self._large_end] = beginning
