"""The calls of one connection: begun, fed, answered by tasks, refused, given up."""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from time import monotonic
from typing import Any, Final, Protocol

from gateway.errors import Draining, GatewayError
from gateway.frontends.grpc_call import Answer, Call, Method
from gateway.frontends.grpc_exchange import Exchange
from gateway.frontends.grpc_wire import (
    OK_HEAD,
    OK_TRAILERS,
    CallHead,
    http_block,
    pack_prefix,
    parse_head,
    refusal_block,
)
from gateway.frontends.http2.connection import Connection
from gateway.frontends.http2.stream import Stream
from gateway.frontends.limits import Limits
from gateway.frontends.status import Refusal, refusal_of
from runners.core.errors import Overloaded

CALLS_LIMIT: Final = 4096  # under way at once, in all connections; more are told RESOURCE_EXHAUSTED
ROOM_MESSAGES: Final = 4  # of the largest size that one connection may have on their way in


class Host(Protocol):
    """What the calls of all connections share."""

    limits: Limits
    calls_n: int  # under way

    def method(self, path: str, /) -> Method: ...
    def turn_away(self, error: Exception, call: Call, /) -> Refusal: ...  # record a call that no method has seen
    def count_refused(self, code: str, /) -> None: ...


class ConnectionCalls:
    """What http2.connection.Calls asks for, and the tasks behind it."""

    def __init__(self, host: Host, caller: str, flush_soon: Callable[[], None]) -> None:
        """`caller` is the peer's address; `flush_soon` is called when a task has put something to send."""
        self._host = host
        self._caller = caller
        self._flush_soon = flush_soon
        self._limits = host.limits
        self._loop = asyncio.get_running_loop()
        self._exchanges: dict[int, Exchange] = {}  # those not answered yet, by their streams
        self._tasks: set[asyncio.Task[None]] = set()
        self.connection = Connection(self, parse_head, ROOM_MESSAGES * host.limits.body_bytes)
        self._out = self.connection.out

    def began(self, stream: Stream) -> None:
        head: CallHead = stream.head
        call = Call(head.metadata, monotonic() + head.timeout_s if head.timeout_s else 0.0, self._caller)
        if head.http_status:
            self._host.count_refused("not_grpc")
            self._out.end(stream, http_block(head.http_status))
        elif head.refused is not None:
            self._refuse(stream, self._host.turn_away(head.refused, call))
        elif self._host.calls_n >= CALLS_LIMIT:
            overload = Overloaded(f"{CALLS_LIMIT} calls are under way already")
            self._refuse(stream, self._host.turn_away(overload, call))
        else:
            self._host.calls_n += 1
            method = self._host.method(head.path)
            exchange = Exchange(stream, self.connection, method, call, self._limits.body_bytes)
            stream.call = self._exchanges[stream.id] = exchange
            if method.streaming is not None:
                stream.on_sent = exchange.wake
                self._start(exchange, self._answer_many(exchange))

    def came(self, stream: Stream, data: bytes) -> None:
        exchange: Exchange | None = stream.call
        if exchange is not None:
            try:
                exchange.feed(data)
            except GatewayError as error:
                self._turn_away(exchange, error)

    def heard(self, stream: Stream) -> None:
        exchange: Exchange | None = stream.call
        if exchange is None:
            return
        if exchange.method.streaming is not None:
            exchange.wake()
        else:
            self._start(exchange, self._answer_one(exchange))

    def gone(self, stream: Stream) -> None:
        exchange: Exchange | None = stream.call
        if exchange is not None:
            self._close(exchange)
            if exchange.task is not None:
                exchange.task.cancel()

    def cancel(self) -> None:
        """End what is under way; whoever waits for it is told that the server stops."""
        for exchange in list(self._exchanges.values()):
            if exchange.task is not None:
                exchange.task.cancel()
            else:
                self._turn_away(exchange, Draining("the server is stopping"))

    def sweep(self, now: float) -> None:
        """Refuse calls whose messages have been coming for too long."""
        for exchange in list(self._exchanges.values()):
            error = exchange.overdue(now, self._limits.body_s)
            if error is not None:
                self._turn_away(exchange, error)

    def _start(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        exchange.task = task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._host.calls_n -= 1
        self._tasks.discard(task)

    def _close(self, exchange: Exchange) -> None:
        """The call is answered, or nobody waits for the answer: what still comes is ignored."""
        stream = exchange.stream
        stream.call = None
        del self._exchanges[stream.id]
        if exchange.task is None:
            self._host.calls_n -= 1

    async def _answer_one(self, exchange: Exchange) -> None:
        unary = exchange.method.unary
        assert unary is not None
        try:
            try:
                body = await exchange.only_message()
            except GatewayError as error:
                self._turn_away(exchange, error)
                return
            answer = await unary(body, exchange.call)
        except CancelledError:
            self._end(exchange, Answer(refusal=refusal_of(Draining("the server is stopping"))))
        except Exception as error:  # noqa: BLE001 - refusal_of logs what nobody meant to raise
            self._end(exchange, Answer(refusal=refusal_of(error)))
        else:
            self._end(exchange, answer)

    async def _answer_many(self, exchange: Exchange) -> None:
        streaming = exchange.method.streaming
        assert streaming is not None
        stream, out = exchange.stream, self._out
        try:
            async with aclosing(exchange.messages()) as bodies, aclosing(streaming(bodies, exchange.call)) as answers:
                async for body in answers:
                    if not exchange.has_begun:
                        exchange.has_begun = True
                        out.headers(stream, OK_HEAD)
                    out.body(stream, pack_prefix(0, len(body)), body)
                    out.pump()
                    self._flush_soon()
                    await exchange.sent()
        except CancelledError:
            self._end(exchange, Answer(refusal=refusal_of(Draining("the server is stopping"))))
        except Exception as error:  # noqa: BLE001 - refusal_of logs what nobody meant to raise
            self._end(exchange, Answer(refusal=refusal_of(error)))
        else:
            if stream.call is not None:
                self._close(exchange)
                out.end(stream, OK_TRAILERS if exchange.has_begun else OK_HEAD + OK_TRAILERS)
                self._flush_soon()

    def _turn_away(self, exchange: Exchange, error: Exception) -> None:
        """Refuse a call that no method has seen, or not all of."""
        self._end(exchange, Answer(refusal=self._host.turn_away(error, exchange.call)))
        if exchange.task is not None and exchange.task is not asyncio.current_task():
            exchange.task.cancel()

    def _end(self, exchange: Exchange, answer: Answer) -> None:
        """Answer a call, unless that was done already or nobody waits any more."""
        stream = exchange.stream
        if stream.call is None:
            return
        self._close(exchange)
        if answer.refusal is not None:
            self._refuse(stream, answer.refusal, answer.metadata, is_first=not exchange.has_begun)
        else:
            body = answer.body
            self._out.answer(stream, OK_HEAD + answer.metadata, pack_prefix(0, len(body)), body, OK_TRAILERS)
        self._flush_soon()

    def _refuse(self, stream: Stream, refusal: Refusal, metadata: bytes = b"", *, is_first: bool = True) -> None:
        self._out.end(stream, refusal_block(refusal, metadata, is_first=is_first))
