"""gRPC on a socket: when to read, when to write, and when to give up on a client.

All that is answered while the loop goes round once goes out in one write.
"""

import asyncio
from random import uniform
from typing import Any, Final, Protocol

from gateway.frontends import grpc_calls
from gateway.frontends.grpc_calls import ConnectionCalls
from gateway.frontends.http2.frames import Code, ConnectionFault

CONNECTIONS_LIMIT: Final = 4096
HEAD_S: Final = 10.0  # for the preface, and for a header block to end
WRITE_S: Final = 60.0  # for a client to take some of what is written to it
QUIET_S: Final = 300.0  # after which a client is asked whether it is there
REPLY_S: Final = 20.0  # for it to say so
FAREWELL_S: Final = 2.0  # for a client to hang up that was told why we do


class Host(grpc_calls.Host, Protocol):
    """What the connections of a server share."""

    connections: "set[GrpcProtocol]"

    def joined(self, connection: "GrpcProtocol", /) -> None: ...
    def left(self, connection: "GrpcProtocol", /) -> None: ...


class GrpcProtocol(asyncio.Protocol):
    """One connection."""

    _transport: Any  # asyncio.Transport, or uvloop's, which does not inherit from it
    _calls: ConnectionCalls

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._will_flush = False
        self._swept_at = self._heard_at = self._mute_since = self._unwritten_since = now = self._loop.time()
        age_s = host.limits.connection_s
        self._leaves_at = now + age_s * uniform(0.9, 1.1) if age_s else float("inf")  # noqa: S311 - not all at once
        self._asked_at = 0.0  # whether it is there, 0 if it was not
        self._unwritten_n = 0  # as the last sweep found it
        self._closing_since = float("inf")  # as a sweep first found it

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._calls = ConnectionCalls(self._host, str(peer[0]) if peer else "", self._flush_soon)
        self._connection = self._calls.connection
        self._host.joined(self)
        if len(self._host.connections) > CONNECTIONS_LIMIT:
            self._refuse("too_many_connections", Code.ENHANCE_YOUR_CALM, "there are too many connections")
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._swept_at
        self._asked_at = 0.0
        if self._connection.fault is None:
            fault = self._connection.receive(data)
            if fault is not None:
                self._host.count_refused(fault.code.name.lower())
            self._flush()

    def connection_lost(self, _: Exception | None) -> None:
        self._host.left(self)
        self._connection.lose()

    def pause_writing(self) -> None:
        self._connection.out.is_held = True

    def resume_writing(self) -> None:
        self._connection.out.is_held = False
        self._connection.out.pump()
        self._flush()

    def leave(self) -> None:
        """Have the client make another connection for its next call, and close this one after the last answer."""
        self._connection.leave()
        self._flush()

    def cancel(self) -> None:
        """Time is up for what is under way: say so, and close."""
        self._connection.say_goodbye()
        self._calls.cancel()
        self._flush()

    def close(self) -> None:
        """Whatever is under way."""
        self._connection.fail(ConnectionFault(Code.NO_ERROR, "the server is stopping"))
        self._flush()

    def abort(self) -> None:
        """Without another word."""
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Do what time asks for; to be called about once a second."""
        connection = self._connection
        connection.sweep(now, now - self._swept_at)
        self._swept_at = now
        self._calls.sweep(now)
        if not connection.is_mute:
            self._mute_since = now
        elif connection.fault is None and now - self._mute_since > HEAD_S:
            self._refuse("head_timeout", Code.PROTOCOL_ERROR, "the head of a request did not arrive in time")
        if now > self._leaves_at:
            connection.leave()
        self._sweep_silence(now)
        self._flush()
        self._sweep_unwritten(now)

    def _sweep_silence(self, now: float) -> None:
        if self._asked_at:
            if now - self._asked_at > REPLY_S:
                self.abort()
        elif now - self._heard_at > QUIET_S:
            self._asked_at = now
            self._connection.ping()

    def _sweep_unwritten(self, now: float) -> None:
        waiting_n = self._transport.get_write_buffer_size()
        if waiting_n == 0 or waiting_n != self._unwritten_n:
            self._unwritten_n, self._unwritten_since = waiting_n, now
        elif now - self._unwritten_since > WRITE_S:
            self.abort()
        if self._transport.is_closing():
            self._closing_since = min(self._closing_since, now)
            if now - self._closing_since > FAREWELL_S:
                self.abort()

    def _refuse(self, counted_as: str, code: Code, why: str) -> None:
        self._connection.fail(ConnectionFault(code, why))
        self._host.count_refused(counted_as)

    def _flush_soon(self) -> None:
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._will_flush = False
        connection, transport = self._connection, self._transport
        if transport.is_closing():
            return
        data = connection.take()
        if data:
            transport.write(data)
            connection.out.pump()
            if connection.out.has_ready:
                self._flush_soon()  # after others had their turn
        if connection.fault is not None or (connection.has_left and not connection.streams_n):
            transport.close()
