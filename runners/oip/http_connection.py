"""A small HTTP/1.1 client: kept connections, whole requests out, whole answers in, within bounds.

Made of the parser that the HTTP frontend uses already, for what a general client brings beside (redirects, cookies,
proxies, packed answers, a second HTTP version) is nothing that a call between two servers should do by itself.
"""

import asyncio
import ssl
from collections.abc import Sequence
from time import monotonic
from typing import cast

import httptools
from msgspec import Struct

from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidOutput
from runners.oip.address import Address
from runners.oip.client import Unreachable

HEAD_LIMIT_BYTES = 64 << 10
IDLE_S = 50.0  # shorter than common servers and balancers keep what is idle
ONE_WRITE_BYTES = 64 << 10  # up to here copying the parts together is cheaper than several writes


class HttpAnswer(Struct, frozen=True, gc=False):
    """A response, read to its end; names of headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class StaleConnection(Exception):
    """A kept connection turned out to be closed before the server had read from it."""


class HttpConnection(asyncio.Protocol):
    """One connection, for one exchange at a time."""

    def __init__(self, limit_bytes: int) -> None:
        self.idle_since = 0.0
        self.is_kept = False  # has answered before
        self.is_open = True
        self._limit_bytes = limit_bytes
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def exchange(self, parts: Sequence[bytes], deadline_at: float) -> HttpAnswer:
        """Send a request and read its answer. Raises RunnerErrors, Unreachable, or StaleConnection to try anew."""
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        self._begin()
        timer = loop.call_later(max(0.0, deadline_at - monotonic()), self._expire)
        if sum(map(len, parts)) <= ONE_WRITE_BYTES:
            self._transport.write(b"".join(parts))
        else:
            for part in parts:
                self._transport.write(part)
        try:
            answer: HttpAnswer = await waiter
        except BaseException:  # whatever the server may still send belongs to nobody
            self.abort()
            raise
        finally:
            timer.cancel()
            self._waiter = None
        self.is_kept = True
        return answer

    def abort(self) -> None:
        self.is_open = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.abort()  # nobody asked for anything, so the next answer could not be told from this
            return
        self._answered_n += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ExecutionFailed("the remote server does not answer in HTTP 1.1"))
            return
        if not self._has_head and self._answered_n > HEAD_LIMIT_BYTES:
            self._fail(ExecutionFailed("the head of the remote server's answer is too large"))

    def eof_received(self) -> None:
        self.is_open = False
        has_length = b"content-length" in self._headers or b"transfer-encoding" in self._headers
        if self._has_head and not has_length:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self.is_kept and not self._answered_n:
            self._fail(StaleConnection())
        else:
            self._fail(Unreachable(f"the connection to the remote server broke{f': {exc}' if exc else ''}"))

    def on_message_begin(self) -> None:
        if self._has_head:
            self.is_open = False  # a second answer to one question

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._has_head = self._parser.get_status_code() >= 200
        if not self._has_head:
            self._headers.clear()  # an interim answer; the real one follows

    def on_body(self, body: bytes) -> None:
        self._body_n += len(body)
        if self._body_n > self._limit_bytes:
            self._fail(InvalidOutput(f"the answer is larger than the limit of {self._limit_bytes} bytes"))
        elif self._waiter is not None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._has_head:
            self.is_open = self.is_open and self._parser.should_keep_alive()
            self._finish()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_n = 0
        self._answered_n = 0
        self._has_head = False

    def _finish(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._waiter.set_result(HttpAnswer(self._parser.get_status_code(), self._headers, body))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.is_open = False
        self._transport.abort()

    def _expire(self) -> None:
        self._fail(DeadlineExceeded("the deadline passed before the remote server had answered"))


class HttpPool:
    """Connections to one server. As many as there are calls at once; how many those may be is for the caller to say."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None, limit_bytes: int) -> None:
        self._address = address
        self._tls = tls
        self._limit_bytes = limit_bytes
        self._idle: list[HttpConnection] = []
        self._busy: set[HttpConnection] = set()
        self._is_closed = False

    async def ask(self, parts: Sequence[bytes], deadline_at: float) -> HttpAnswer:
        """The answer to a request. Raises RunnerErrors or Unreachable.

        A kept connection may have been closed just when it was to be used; then the request goes out once more.
        """
        kept = self._take()
        if kept is not None:
            try:
                return await self._exchange(kept, parts, deadline_at)
            except StaleConnection:
                pass
        return await self._exchange(await self._connect(deadline_at), parts, deadline_at)

    async def close(self) -> None:
        self._is_closed = True
        for connection in (*self._idle, *self._busy):
            connection.abort()
        self._idle.clear()

    async def _exchange(self, connection: HttpConnection, parts: Sequence[bytes], deadline_at: float) -> HttpAnswer:
        self._busy.add(connection)
        try:
            answer = await connection.exchange(parts, deadline_at)
        finally:
            self._busy.discard(connection)
        if connection.is_open and not self._is_closed:
            connection.idle_since = monotonic()
            self._idle.append(connection)
        else:
            connection.abort()
        return answer

    def _take(self) -> HttpConnection | None:
        """The connection that was used last, so that those not needed grow old and are let go."""
        oldest_at = monotonic() - IDLE_S
        while self._idle and self._idle[0].idle_since < oldest_at:
            self._idle.pop(0).abort()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self, deadline_at: float) -> HttpConnection:
        address = self._address
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(max(0.0, deadline_at - monotonic())):
                _, connection = await loop.create_connection(
                    lambda: HttpConnection(self._limit_bytes), address.host, address.port, ssl=self._tls
                )
        except TimeoutError:
            raise Unreachable(f"{address.authority} does not take a connection in time") from None
        except (OSError, ssl.SSLError) as error:
            raise Unreachable(f"{address.authority} cannot be connected to: {error}") from None
        if self._is_closed:
            connection.abort()
            raise Unreachable("the model was closed")
        return connection
