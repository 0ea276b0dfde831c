"""One call under way: its messages as they come in, and the task that answers them."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from gateway.errors import GatewayError, Malformed
from gateway.frontends.grpc_call import Body, Call, Method
from gateway.frontends.grpc_wire import MessageReader
from gateway.frontends.http2.connection import Connection
from gateway.frontends.http2.stream import Stream
from gateway.frontends.http_body import WINDOWS, Unpacker, too_large
from runners.core.errors import DeadlineExceeded


class Exchange:
    """A call and where it stands. Its stream's `call` is this."""

    __slots__ = ("_connection", "_limit", "_waiter", "call", "has_begun", "method", "reader", "since", "stream", "task")

    def __init__(self, stream: Stream, connection: Connection, method: Method, call: Call, limit: int) -> None:
        """`limit` bounds each message in bytes, packed and unpacked."""
        self.stream = stream
        self.method = method
        self.call = call
        self.reader = MessageReader(limit)
        self.task: asyncio.Task[None] | None = None
        self.has_begun = False  # the first header block of the answer has gone out
        self.since = 0.0  # when a sweep first found the message incomplete that is awaited, 0 if none is
        self._connection = connection
        self._limit = limit
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """Data came. Raises TooLarge or Malformed."""
        self.reader.feed(data)
        self._expect_rest()
        self.wake()

    def wake(self) -> None:
        """Something happened that the task may wait for."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def only_message(self) -> Body:
        """The message of a call that has one. Raises GatewayError if it has none or several, or cannot be read."""
        messages = self.reader.messages
        if len(messages) != 1 or self.reader.is_within:
            raise Malformed("the call ended within a message" if self.reader.is_within else "the call has no message")
        is_packed, body = messages.popleft()
        return await self._unpacked(body) if is_packed else body

    async def messages(self) -> AsyncGenerator[Body, None]:
        """Every message of the call, each as soon as the one before has been dealt with. Raises GatewayError."""
        reader, stream = self.reader, self.stream
        while True:
            while not reader.messages and not stream.is_heard:
                await self._wait()
            if not reader.messages:
                if reader.is_within:
                    raise Malformed("the call ended within a message")
                return
            is_packed, body = reader.messages.popleft()
            yield await self._unpacked(body) if is_packed else body
            reader.took(body)
            self._connection.took(stream, reader.held_n)
            self._expect_rest()

    async def sent(self) -> None:
        """Wait until all that was to go out has gone."""
        while self.stream.unsent_n:
            await self._wait()

    def overdue(self, now: float, limit_s: float) -> GatewayError | DeadlineExceeded | None:
        """What to say to a peer that has let a message come for too long. Time it waits for room does not count."""
        stream = self.stream
        is_awaited = not stream.is_heard and (self.method.unary is not None or self.reader.is_within)
        if not is_awaited or stream.wanted_n:
            self.since = 0.0
        elif not self.since:
            self.since = now
        elif now - self.since > limit_s:
            return DeadlineExceeded(f"the message did not arrive within {limit_s:g} s")
        return None

    def _expect_rest(self) -> None:
        missing_n = self.reader.missing_n
        if missing_n > self.stream.receive_window and not self.reader.messages and not self.stream.is_heard:
            self._connection.expect(self.stream, missing_n)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _unpacked(self, packed: Body) -> Any:
        """Slice by slice, so that a large message holds nobody up."""
        encoding = self.stream.head.encoding
        if not encoding:
            raise Malformed("the message is compressed, and grpc-encoding does not say how")
        unpacker = Unpacker(WINDOWS[encoding])
        whole = bytearray()
        for part in unpacker.feed(bytes(packed)):
            if len(whole) + len(part) > self._limit:
                raise too_large(self._limit)
            whole += part
            await asyncio.sleep(0)
        unpacker.finish()
        return whole
