"""One connection of HTTP/1.1: bytes become exchanges, which are answered one after the other by one task.

httptools parses; the bounds are here: on heads in size, number of headers and time, on what is held of a body, on
answers that nobody takes, on idleness. A caller who hangs up cancels what is done for them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import unquote

import httptools

from gateway.frontends.http_exchange import JSON_LINE, LENGTH_LINE, STATUS_LINES, Exchange
from gateway.frontends.http_refused import (
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    NO_REQUEST,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_HEADERS,
    Refused,
)

HEADERS_LIMIT = 100
HEAD_BYTES_LIMIT = 64 << 10  # read without a request's head, body or end coming forward
HEAD_S = 10.0
CONNECTIONS_LIMIT = 4096
WRITE_S = 60.0  # for a client to take some of what is written to it
GOODBYE_S = 2.0  # for a client of TLS to answer that we close; most only do when they are next used
KEEP_ALIVE_S = 75.0  # longer than common proxies keep an idle connection, so that they are the ones to close it
HELD_BODY_BYTES = 256 << 10  # of a body that nobody has read yet
ONE_WRITE_BYTES = 64 << 10  # up to here copying head and body together is cheaper than a second write
NEVER = float("inf")

App = Callable[[Exchange], Awaitable[None]]


class TooManyHeaders(Exception):
    """Raised inside the parser, which hands it out again as an HttpParserError."""


class Hall:
    """What all connections of one server share: who is there, the head of every answer, and who counts refusals."""

    def __init__(self, app: App, refused: Callable[[str], None]) -> None:
        self.app = app
        self.refused = refused
        self.connections: set[Connection] = set()
        self.is_closing = False
        self.date_line = b""
        self.ok_head = b""

    def set_date(self, date: str) -> None:
        """`date` is the time in the form of HTTP, to the second."""
        self.date_line = f"date: {date}\r\n".encode()
        self.ok_head = STATUS_LINES[200] + self.date_line


class Connection(asyncio.Protocol):
    """The server's side of one connection. `transport` is there from its first moment on."""

    transport: asyncio.Transport

    def __init__(self, hall: Hall, loop: asyncio.AbstractEventLoop) -> None:
        self._hall = hall
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._caller = ""
        self._incoming: Exchange | None = None  # its head or its body is being read
        self._url = b""
        self._headers_n = 0
        self._waiting: deque[Exchange | Refused] = deque()
        self._running: Exchange | None = None
        self._more: asyncio.Future[None] | None = None  # what the task waits on while nothing waits for it
        self._writable: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._unclaimed_n = 0  # bytes read since the parser last came forward with anything
        self._head_since = NEVER  # on the loop's clock; never while no head has begun
        self._idle_since = NEVER
        self._unwritten_n = 0  # as the last sweep found it
        self._unwritten_since = 0.0
        self._closing_since = NEVER  # as a sweep first found it
        self._is_paused = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is owed to the client."""
        return self._running is None and not self._waiting

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._caller = str(peer[0]) if isinstance(peer, tuple) else ""
        self._head_since = self._loop.time()
        self._hall.connections.add(self)
        if len(self._hall.connections) > CONNECTIONS_LIMIT:
            self._refuse(TOO_MANY_CONNECTIONS)
        else:
            self._task = self._loop.create_task(self._serve())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._hall.connections.discard(self)
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._idle_since is not NEVER:
            self._idle_since = NEVER
            self._head_since = self._loop.time()
        self._unclaimed_n += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nothing to upgrade to; the request has been read, and is answered as if it had not asked
        except httptools.HttpParserError as error:
            self._break(TOO_MANY_HEADERS if isinstance(error.__context__, TooManyHeaders) else NO_REQUEST)
        if self._unclaimed_n > HEAD_BYTES_LIMIT and not self.transport.is_closing():
            self._break(HEAD_TOO_LARGE)
        if len(self._waiting) > 1:  # answered in order, so whoever sends ahead waits for their turn
            self._pause()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # From the parser

    def on_message_begin(self) -> None:
        self._unclaimed_n = 0
        self._incoming = Exchange(self, self._caller)
        self._url = b""
        self._headers_n = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._incoming is not None
        self._headers_n += 1
        if self._headers_n > HEADERS_LIMIT:
            raise TooManyHeaders
        self._incoming.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        exchange, parser, url = self._incoming, self._parser, self._url
        assert exchange is not None
        exchange.method = parser.get_method().decode("ascii")
        exchange.path = _path_of(url)
        exchange.closes = not parser.should_keep_alive() or parser.get_http_version() == "1.0"
        if exchange.headers.get(b"expect", b"").lower() == b"100-continue":
            exchange.expect_continue()
        self._unclaimed_n = 0
        self._head_since = NEVER
        self._waiting.append(exchange)
        if self._more is not None:
            self._more.set_result(None)
            self._more = None

    def on_body(self, body: bytes) -> None:
        assert self._incoming is not None
        self._unclaimed_n = 0
        if not self._incoming.is_answered:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        assert self._incoming is not None
        self._incoming.finish()
        self._incoming = None

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def write_answer(self, exchange: Exchange, status: int, lines: bytes, body: bytes) -> None:
        if self.transport.is_closing():
            return
        hall = self._hall
        head = hall.ok_head if status == 200 else STATUS_LINES[status] + hall.date_line
        exchange.closes = exchange.closes or hall.is_closing
        end = b"connection: close\r\n\r\n" if exchange.closes else b"\r\n"
        if exchange.method == "HEAD":
            body = b""
        if len(body) <= ONE_WRITE_BYTES:
            self.transport.write(b"".join((head, lines, end, body)))
        else:
            self.transport.write(b"".join((head, lines, end)))
            self.transport.write(body)

    def want_more(self, held_n: int) -> None:
        if held_n > HELD_BODY_BYTES:
            self._pause()
        elif not held_n and not self._waiting:
            self._resume()

    # From the server

    def sweep(self, now: float) -> None:
        """Give up on a client that sends no head, takes nothing of what is written to it, is idle, or does not part."""
        if now - self._head_since > HEAD_S:
            self._refuse(HEAD_TOO_SLOW)
        if now - self._idle_since > KEEP_ALIVE_S:
            self.transport.close()
        waiting_n = self.transport.get_write_buffer_size()
        if waiting_n == 0 or waiting_n != self._unwritten_n:
            self._unwritten_n, self._unwritten_since = waiting_n, now
        elif now - self._unwritten_since > WRITE_S:
            self.transport.abort()
        if waiting_n == 0 and self.transport.is_closing():
            self._closing_since = min(self._closing_since, now)
            if now - self._closing_since > GOODBYE_S:
                self.transport.abort()

    def close_when_idle(self) -> asyncio.Task[None] | None:
        """Part now, or after the answer that is owed; the task to wait for in that case."""
        if self.is_idle:
            self.transport.close()
            return None
        return self._task

    async def _serve(self) -> None:
        """Answer what arrives, in order, until the connection ends."""
        try:
            await self._answer_all()
        finally:
            self.transport.close()

    async def _answer_all(self) -> None:
        waiting = self._waiting
        while True:
            if not waiting:
                self._resume()
                self._more = self._loop.create_future()
                await self._more
            exchange = waiting.popleft()
            if isinstance(exchange, Refused):
                self._refuse(exchange)
                return
            self._running = exchange
            await self._hall.app(exchange)
            self._running = None
            if exchange.closes or self.transport.is_closing():
                return
            if self._writable is not None:
                await self._writable
            if not waiting:
                self._await_head()

    def _await_head(self) -> None:
        if self._incoming is None:
            self._idle_since = self._loop.time()
        else:
            self._head_since = self._loop.time()

    def _break(self, refused: Refused) -> None:
        """What came is no request. Those that came before it are answered first, as they were asked first."""
        broken, self._incoming = self._incoming, None
        if broken is not None and self._waiting and self._waiting[-1] is broken:
            self._waiting.pop()
        if self.is_idle or (broken is not None and broken is self._running):
            self._refuse(refused)
        else:
            self._pause()
            self._waiting.append(refused)

    def _refuse(self, refused: Refused) -> None:
        body = b'{"error":"%s"}' % refused.text.encode()
        self._head_since = NEVER
        self._hall.refused(refused.code)
        lines = JSON_LINE + LENGTH_LINE % len(body) + b"connection: close\r\n\r\n"
        self.transport.write(STATUS_LINES[refused.status] + lines + body)
        self.transport.close()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()


def _path_of(url: bytes) -> str:
    """The path of a target, decoded. Raises HttpParserError or UnicodeDecodeError for what is none."""
    if url.startswith(b"/") and not (b"?" in url or b"%" in url or b"#" in url):
        return url.decode("ascii")
    path = (httptools.parse_url(url).path or b"/").decode("ascii")
    return unquote(path) if "%" in path else path
