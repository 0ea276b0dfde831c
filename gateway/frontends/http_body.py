"""Reading an HTTP body that did not come in one piece, or came packed, without ever holding more than the limit."""

import asyncio
import zlib
from collections.abc import Iterator, Mapping

from gateway.errors import Malformed, TooLarge, UnsupportedEncoding
from gateway.frontends.http_exchange import Exchange
from gateway.frontends.limits import Limits
from runners.core.errors import DeadlineExceeded

SLICE_BYTES = 1 << 20  # unpacked at a time, so that a large body does not hold up the loop for longer than a few ms
WINDOWS = {b"gzip": 31, b"deflate": 15}  # zlib's window bits: a gzip or a zlib container
LENGTH_DIGITS = 18


def check_length(headers: Mapping[bytes, bytes], limit: int) -> None:
    """Refuse a body by the length it declares, before a byte of it is read. Raises TooLarge or Malformed."""
    declared = headers.get(b"content-length")
    if declared is None:
        return
    if not declared.isdigit():
        raise Malformed("header 'Content-Length' is no number")
    if len(declared) > LENGTH_DIGITS or int(declared) > limit:
        raise too_large(limit)


async def read_body(exchange: Exchange, limits: Limits) -> bytes | bytearray:
    """The whole body, unpacked. Raises TooLarge, Malformed, UnsupportedEncoding or DeadlineExceeded."""
    check_length(exchange.headers, limits.body_bytes)
    unpacker = _unpacker(exchange.headers.get(b"content-encoding", b""))
    whole = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            while piece := await exchange.read():
                if unpacker is None:
                    _add(whole, piece, limits.body_bytes)
                    continue
                for part in unpacker.feed(piece):
                    _add(whole, part, limits.body_bytes)
                    await asyncio.sleep(0)
    except TimeoutError:
        raise DeadlineExceeded(f"the body did not arrive within {limits.body_s:g} s") from None
    if unpacker is not None:
        unpacker.finish()
    return whole


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than the limit of {limit} bytes")


class Unpacker:
    """Unpacks one gzip or zlib stream bit by bit."""

    def __init__(self, window: int) -> None:
        self._stream = zlib.decompressobj(window)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What `packed` unpacks to, in slices, so that the caller can stop in between. Raises Malformed."""
        if self._stream.eof and packed:
            raise Malformed("the body goes on after the end of its compressed stream")
        while True:
            try:
                part = self._stream.decompress(packed, SLICE_BYTES)
            except zlib.error as error:
                raise Malformed(f"the body cannot be decompressed: {error}") from None
            packed = self._stream.unconsumed_tail
            if part:
                yield part
            if self._stream.unused_data:
                raise Malformed("the body goes on after the end of its compressed stream")
            if not packed and len(part) < SLICE_BYTES:
                return

    def finish(self) -> None:
        if not self._stream.eof:
            raise Malformed("the compressed body ends too early")


def _unpacker(encoding: bytes) -> Unpacker | None:
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return None
    window = WINDOWS.get(name)
    if window is None:
        raise UnsupportedEncoding("Content-Encoding may be gzip, deflate or identity")
    return Unpacker(window)


def _add(whole: bytearray, part: bytes, limit: int) -> None:
    if len(whole) + len(part) > limit:
        raise too_large(limit)
    whole += part
