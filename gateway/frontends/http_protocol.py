"""uvicorn's HTTP/1.1 protocol with the bounds it lacks and a shorter way out.

What is added: heads of requests are bounded in size, number of headers and time; a caller who hangs up cancels what is
done for them; errors below the application have the protocol's JSON body; and an application may hand over a whole
answer at once, which spares uvicorn's checks of headers that were checked when they were encoded.
"""

from asyncio import BaseTransport, Task
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

ANSWER = "turnout.answer"  # the name of our extension in an ASGI scope; its value is an Answer
HEADERS_LIMIT = 100
HEAD_BYTES_LIMIT = 64 << 10  # read without a request's head, body or end coming forward
HEAD_S = 10.0
CONNECTIONS_LIMIT = 4096
WRITE_S = 60.0  # for a client to take some of what is written to it
GOODBYE_S = 2.0  # for a client of TLS to answer that we close; most only do when they are next used
ONE_WRITE_BYTES = 64 << 10  # up to here copying head and body together is cheaper than a second write


class Answer(Protocol):
    """Sends a 200 whose header lines, each with its CRLF, are `lines`. False: not possible now, use `send`."""

    def __call__(self, lines: bytes, body: bytes, /) -> bool: ...


class TooManyHeaders(Exception):
    """Raised inside the parser, which hands it out again as an HttpParserError."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _task: Task[None] | None = None
    _running: RequestResponseCycle | None = None  # pipelined requests run one after the other
    _unclaimed_n = 0  # bytes read since the parser last came forward with anything
    _head_since = float("inf")  # on the loop's clock; infinite while no head is awaited
    _unwritten_n = 0  # as the last sweep found it
    _unwritten_since = 0.0
    _closing_since = float("inf")  # as a sweep first found it

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._extensions: dict[str, Any] = {ANSWER: self.write_answer}
        self._head_since = self.loop.time()
        if len(self.connections) > CONNECTIONS_LIMIT:
            self._refuse(b"503 Service Unavailable", b"too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
            self._head_since = self.loop.time()
        self._unclaimed_n += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nothing to upgrade to; the request has been read, and is answered as if it had not asked
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, TooManyHeaders):
                self._refuse(b"431 Request Header Fields Too Large", b"too many headers")
            else:
                self._refuse(b"400 Bad Request", b"this is no request of HTTP 1.1")
        if self._unclaimed_n > HEAD_BYTES_LIMIT and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", b"the head of the request is too large")

    def on_message_begin(self) -> None:
        self._unclaimed_n = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS_LIMIT:
            raise TooManyHeaders
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._unclaimed_n = 0
        self._head_since = float("inf")
        super().on_headers_complete()
        self.scope["extensions"] = self._extensions

    def on_body(self, body: bytes) -> None:
        self._unclaimed_n = 0
        super().on_body(body)

    def sweep(self, now: float) -> None:
        """Give up on a client that does not send a head, takes nothing of what is written to it, or does not part."""
        if now - self._head_since > HEAD_S:
            self._refuse(b"408 Request Timeout", b"the head of the request did not arrive in time")
        waiting_n = self.transport.get_write_buffer_size()
        if waiting_n == 0 or waiting_n != self._unwritten_n:
            self._unwritten_n, self._unwritten_since = waiting_n, now
        elif now - self._unwritten_since > WRITE_S:
            self.transport.abort()
        if waiting_n == 0 and self.transport.is_closing():
            self._closing_since = min(self._closing_since, now)
            if now - self._closing_since > GOODBYE_S:
                self.transport.abort()

    def write_answer(self, lines: bytes, body: bytes) -> bool:
        """Write a whole answer to the running request, in the state that uvicorn's own `send` would leave behind."""
        cycle = self._running
        if cycle is None or cycle.response_started or self.flow.write_paused:
            return False
        if cycle.disconnected:
            return True
        cycle.response_started = cycle.response_complete = True
        head = [b"HTTP/1.1 200 OK\r\n"]
        for name, value in cycle.default_headers:
            head += (name, b": ", value, b"\r\n")
        head.append(lines)
        head.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if len(body) <= ONE_WRITE_BYTES:
            head.append(body)
            self.transport.write(b"".join(head))
        else:
            self.transport.write(b"".join(head))
            self.transport.write(body)
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _refuse(self, status: bytes, why: bytes) -> None:
        body = b'{"error":"%s"}' % why
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self._head_since = float("inf")
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()
