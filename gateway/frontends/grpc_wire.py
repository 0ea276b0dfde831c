"""gRPC on HTTP/2: heads of calls, messages in a call's data, and the header blocks of answers.

Source: gRPC over HTTP2, github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md.
"""

import binascii
import re
from base64 import b64decode
from collections import deque
from collections.abc import Mapping, Sequence
from struct import Struct as Layout
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from gateway.errors import GatewayError, Malformed, TooLarge, UnsupportedEncoding
from gateway.frontends.http2.headers import LIST_BYTES, Field, field
from gateway.frontends.http_body import WINDOWS
from gateway.frontends.status import GrpcCode, Refusal

PREFIX_BYTES: Final = 5  # of a message: whether it is compressed, and its length
ALREADY_LATE_S: Final = 1e-9  # a deadline that has passed is still one; 0 would mean that there is none
UNITS_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])")
GRPC_TYPE: Final = re.compile(rb"application/grpc(\+[\w.-]+)?\s*(;.*)?")
NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
UNSENDABLE: Final = re.compile(rb"[\0\r\n]")
HTTP_1_ONLY: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))

MESSAGE_SAFE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")  # of an error's text
OK_HEAD: Final = b"".join(
    [b"\x88", field(b"content-type", b"application/grpc"), field(b"grpc-accept-encoding", b"identity,deflate,gzip")]
)
OK_TRAILERS: Final = field(b"grpc-status", b"0")

pack_prefix: Final = Layout(">BI").pack
unpack_prefix: Final = Layout(">BI").unpack_from


class CallHead(Struct, frozen=True):
    """What a call's headers say. `http_status` is that of an answer to what is no gRPC at all, else 0."""

    path: str
    metadata: Mapping[bytes, bytes]
    timeout_s: float = 0.0  # 0 for none
    encoding: bytes = b""  # of its compressed messages
    http_status: int = 0
    refused: GatewayError | None = None


def parse_head(fields: Sequence[Field], size: int) -> CallHead:
    """Make a call's head of its headers. Raises ValueError for what HTTP/2 does not allow in a request."""
    pseudo, metadata = _sorted_out(fields)
    path = pseudo[b":path"].decode("latin-1")
    if pseudo[b":method"] != b"POST":
        return CallHead(path, metadata, http_status=405)
    if not GRPC_TYPE.fullmatch(metadata.get(b"content-type", b"")):
        return CallHead(path, metadata, http_status=415)
    if size > LIST_BYTES:
        return CallHead(path, metadata, refused=TooLarge(f"the metadata is larger than {LIST_BYTES} bytes"))
    try:
        for name in [name for name in metadata if name.endswith(b"-bin")]:
            metadata[name] = _from_base64(name, metadata[name])
        timeout_s, encoding = _timeout_s(metadata), _encoding(metadata)
    except GatewayError as error:
        return CallHead(path, metadata, refused=error)
    return CallHead(path, metadata, timeout_s, encoding)


def refusal_block(refusal: Refusal, metadata: bytes, *, is_first: bool) -> bytes:
    """The header block that ends a call with an error; `is_first` if no other went before it."""
    code = refusal.status.grpc
    said = field(b"grpc-status", b"%d" % code)
    text = field(b"grpc-message", quote(refusal.text, safe=MESSAGE_SAFE).encode())
    return b"".join((OK_HEAD if is_first else b"", said, text, metadata))


def http_block(status: int) -> bytes:
    """The header block that answers what is no gRPC."""
    return field(b":status", b"%d" % status) + field(b"grpc-status", b"%d" % GrpcCode.UNKNOWN)


class MessageReader:
    """Cuts messages out of a call's data, and never holds one that is larger than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._whole_n = 0  # of the partial message with its prefix, 0 while that is not known
        self.messages: deque[tuple[bool, bytes | bytearray]] = deque()  # whether compressed, and the message
        self.held_n = 0  # bytes of the messages and the part of one

    @property
    def missing_n(self) -> int:
        """Bytes that the message lacks whose beginning is here; 0 if its length is not known yet."""
        return self._whole_n - len(self._partial) if self._whole_n else 0

    @property
    def is_within(self) -> bool:
        """Part of a message has come."""
        return bool(self._partial)

    def feed(self, data: bytes) -> None:
        """Raises TooLarge or Malformed, after which no more may be fed."""
        self.held_n += len(data)
        if not self._partial and len(data) >= PREFIX_BYTES:
            is_packed, n = self._prefix(data)
            if n + PREFIX_BYTES == len(data):
                self.messages.append((is_packed, data[PREFIX_BYTES:]))
                return
        self._feed_partly(data)

    def took(self, body: bytes | bytearray) -> None:
        """A message has been dealt with."""
        self.held_n -= len(body) + PREFIX_BYTES

    def _feed_partly(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if not self._whole_n:
                step = data[at : at + PREFIX_BYTES - len(self._partial)]
                self._partial += step
                at += len(step)
                if len(self._partial) < PREFIX_BYTES:
                    return
                self._whole_n = self._prefix(self._partial)[1] + PREFIX_BYTES
            lacking = self._whole_n - len(self._partial)
            self._partial += memoryview(data)[at : at + lacking]
            at += min(lacking, len(data) - at)
            if len(self._partial) == self._whole_n:
                whole, self._partial, self._whole_n = self._partial, bytearray(), 0
                is_packed = bool(whole[0])
                del whole[:PREFIX_BYTES]  # moves no byte: a bytearray may begin later than its memory
                self.messages.append((is_packed, whole))

    def _prefix(self, data: bytes | bytearray) -> tuple[bool, int]:
        flag, n = unpack_prefix(data)
        if flag > 1:
            raise Malformed("the data of the call is no message of gRPC")
        if n > self._limit:
            raise TooLarge(f"the message is larger than the limit of {self._limit} bytes")
        return bool(flag), n


def _sorted_out(fields: Sequence[Field]) -> tuple[Mapping[bytes, bytes], dict[bytes, bytes]]:
    pseudo: dict[bytes, bytes] = {}
    metadata: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] == b":":
            if metadata or name in pseudo or name not in PSEUDO:
                raise ValueError(name)
            pseudo[name] = value
        elif name in HTTP_1_ONLY or not NAME.fullmatch(name) or UNSENDABLE.search(value):
            raise ValueError(name)
        else:
            metadata[name] = value
    if not (b":method" in pseudo and b":scheme" in pseudo and pseudo.get(b":path")):
        raise ValueError(b"a pseudo-header is missing")
    return pseudo, metadata


def _timeout_s(metadata: Mapping[bytes, bytes]) -> float:
    given = metadata.get(b"grpc-timeout")
    if given is None:
        return 0.0
    found = TIMEOUT.fullmatch(given)
    if found is None:
        raise Malformed("grpc-timeout is no number of at most 8 digits with a unit")
    return max(int(found[1]) * UNITS_S[found[2]], ALREADY_LATE_S)


def _encoding(metadata: Mapping[bytes, bytes]) -> bytes:
    encoding = metadata.get(b"grpc-encoding", b"identity")
    if encoding == b"identity":
        return b""
    if encoding not in WINDOWS:
        raise UnsupportedEncoding("grpc-encoding may be gzip, deflate or identity")
    return encoding


def _from_base64(name: bytes, value: bytes) -> bytes:
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise Malformed(f"the metadata '{name.decode()[:100]}' is not in base64") from None
