"""An exchange: one request of HTTP as its frontend sees it, and the way out for its one answer."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Protocol

from msgspec import json

from gateway.frontends.status import Refusal

# The content type of JSON is exactly this: one client drops an error's text when anything follows it.
JSON_LINE = b"content-type: application/json\r\n"
LENGTH_LINE = b"content-length: %d\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
STATUS_LINES: Mapping[int, bytes] = MappingProxyType(
    {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
)


class Way(Protocol):
    """What an exchange needs of its connection."""

    def write_answer(self, exchange: "Exchange", status: int, lines: bytes, body: bytes) -> None: ...
    def write(self, data: bytes) -> None: ...
    def want_more(self, held_n: int) -> None:
        """So many bytes of a body wait to be read: read on from the client, or leave off."""
        ...


class Exchange:
    """A request whose head has arrived. The body may still be on its way, and the answer goes out once.

    `path` is decoded and without a query; `headers` have names in lower case and, of several with one name, the last
    value. `is_whole` says that the last byte of the body has arrived; `closes` that the connection ends with the
    answer.
    """

    __slots__ = (
        *("_awaits_continue", "_held_n", "_pieces", "_reader", "_way"),
        *("caller", "closes", "headers", "is_answered", "is_whole", "method", "path"),
    )

    def __init__(self, way: Way, caller: str) -> None:
        self.method = ""
        self.path = ""
        self.headers: dict[bytes, bytes] = {}
        self.caller = caller
        self.is_whole = False
        self.is_answered = False
        self.closes = False
        self._way = way
        self._pieces: list[bytes] = []
        self._held_n = 0
        self._reader: asyncio.Future[None] | None = None
        self._awaits_continue = False

    def whole_body(self) -> bytes | None:
        """The body if all of it is here in one piece, as it mostly is; None if it has to be read."""
        if not self.is_whole:
            return None
        pieces = self._pieces
        if len(pieces) == 1:
            return pieces[0]
        return None if pieces else b""

    async def read(self) -> bytes:
        """The next part of the body, b"" at its end."""
        if not self._pieces and not self.is_whole:
            if self._awaits_continue:
                self._awaits_continue = False
                self._way.write(CONTINUE)
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        part = b"".join(self._pieces)
        self._pieces.clear()
        self._held_n = 0
        self._way.want_more(0)
        return part

    def reply(self, status: int, lines: bytes, body: bytes) -> None:
        """Send the answer, whose header `lines` each end in CRLF and say the body's type and length."""
        assert not self.is_answered
        self.is_answered = True
        if not self.is_whole:  # what is left of the body would be taken for the next request
            self.closes = True
        self._way.write_answer(self, status, lines, body)

    def refuse(self, refusal: Refusal, more_lines: bytes = b"") -> int:
        """Send an error, and say how many bytes its body took."""
        body = json.encode({"error": refusal.text})
        retry_s = refusal.status.retry_after_s
        again = b"retry-after: %d\r\n" % retry_s if retry_s else b""
        self.reply(refusal.status.http, JSON_LINE + LENGTH_LINE % len(body) + again + more_lines, body)
        return len(body)

    def expect_continue(self) -> None:
        """The client sends its body once it is told to."""
        self._awaits_continue = True

    def feed(self, piece: bytes) -> None:
        """A part of the body has arrived."""
        self._pieces.append(piece)
        self._held_n += len(piece)
        self._way.want_more(self._held_n)
        self._wake()

    def finish(self) -> None:
        """The body is complete."""
        self.is_whole = True
        if self._reader is not None:
            self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)
