"""The replica's end of one connection: greets, takes requests, writes answers, all in one turn's worth at a time."""

import asyncio
from functools import partial
from time import monotonic
from typing import Any, Protocol

from runners.core.errors import InvalidInput, NotReady, Overloaded
from runners.core.runner import Endpoint
from runners.core.tensor_binary import Buffer
from runners.ray import greeting
from runners.ray.driving import Drive
from runners.ray.frame import FRAME_BYTES, Frame, FrameError, FrameReader, Type, frame
from runners.ray.greeting import Refused, Secret, Welcome
from runners.ray.tensors import Wire, error_frame

UNWRITTEN_BYTES = 512 << 20  # answers that a gateway does not fetch; one who lets so many gather is cut
_REQ = int(Type.REQ)


class HopCounts:
    """What a replica's hop has done: calls taken, refused for want of room, given up; connections that were cut."""

    __slots__ = ("calls_n", "cancelled_n", "failed_n", "junk_n", "overloaded_n", "refused_n", "slow_n", "strangers_n")

    def __init__(self) -> None:
        self.calls_n = self.failed_n = self.overloaded_n = self.cancelled_n = 0
        self.refused_n = self.junk_n = self.slow_n = self.strangers_n = 0


class Host(Protocol):
    """What all connections of one replica share."""

    endpoint: Endpoint
    wire: Wire
    secret: Secret
    welcome: Welcome
    counts: HopCounts
    calls_most_n: int
    greeting_s: float
    open_n: int  # calls under way
    is_draining: bool

    @property
    def waiting_n(self) -> int:
        """Calls under way that wait for the model."""
        ...

    def joined(self, connection: "Connection") -> bool:
        """Whether there is room for one more stranger."""
        ...

    def left(self, connection: "Connection") -> None: ...


class Connection(asyncio.BufferedProtocol):
    """One gateway, or a stranger until it has shown the secret."""

    def __init__(self, host: Host) -> None:
        self.is_known = False
        self.has_written = False  # since the last beat
        self._host = host
        self._reader = FrameReader()
        self._nonce = greeting.nonce()
        self._calls: dict[int, Drive] = {}
        self._out: list[Buffer] = []
        self._transport: Any = None
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if not self._host.joined(self):
            self._host.counts.strangers_n += 1
            self._transport.abort()
            return
        self._alarm = self._loop.call_later(self._host.greeting_s, self._refuse, "nothing was said in time")
        self.write(frame(Type.HELLO, greeting.hello(self._nonce)))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._alarm is not None:
            self._alarm.cancel()
        for call in tuple(self._calls.values()):
            call.cancel()
        self._host.left(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for received in self._reader.received(nbytes):
                self._take(received)
                if self._transport.is_closing():
                    return
        except Refused as refused:
            self._host.counts.refused_n += 1
            self._refuse(str(refused))
        except FrameError as error:
            self._host.counts.junk_n += 1
            self._refuse(str(error))

    def pause_writing(self) -> None:
        """A gateway that does not read is not listened to either."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def beat(self) -> None:
        """A sign of life, unless there has been another: a large request may keep a ping waiting behind it."""
        if self.is_known and not self.has_written:
            self._pong(0)
        self.has_written = False

    def _pong(self, id_: int) -> None:
        """With how much there is to do here, for all gateways."""
        self.write(frame(Type.PONG, id_=id_, a=self._host.open_n, b=self._host.waiting_n))

    def go_away(self) -> None:
        if self.is_known:
            self.write(frame(Type.GOAWAY))
        else:
            self.hang_up()

    def hang_up(self) -> None:
        self._flush()
        self._transport.close()

    def write(self, part: Buffer) -> None:
        """Have it sent at the end of this turn, together with all else that is."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(part)

    def _take(self, received: Frame) -> None:
        kind = received.type
        if not self.is_known:
            self._greet(received)
        elif kind == _REQ:
            self._begin(received)
        elif kind == Type.PING:
            self._pong(received.id)
        elif kind == Type.CANCEL:
            call = self._calls.get(received.id)
            if call is not None:
                self._host.counts.cancelled_n += 1
                call.cancel()
        else:
            raise FrameError(f"a gateway says nothing of type {kind}")

    def _greet(self, received: Frame) -> None:
        if received.type != Type.AUTH:
            raise FrameError(f"type {received.type} before the greeting")
        theirs, key = greeting.read_auth(received, self._host.secret.keys(), self._nonce)
        assert self._alarm is not None
        self._alarm.cancel()
        self.is_known = True
        self._reader.limit = FRAME_BYTES
        self.write(frame(Type.OK, greeting.ok(key, self._nonce, theirs, self._host.welcome)))
        if self._host.is_draining:
            self.go_away()

    def _begin(self, received: Frame) -> None:
        host, id_ = self._host, received.id
        if id_ in self._calls:
            raise FrameError(f"id {id_} is under way already")
        host.counts.calls_n += 1
        if host.open_n >= host.calls_most_n:
            host.counts.overloaded_n += 1
            self.write(error_frame(id_, Overloaded(f"{host.calls_most_n} calls are under way at the replica already")))
            return
        try:
            request = host.wire.read_request(received, host.welcome.replica)
        except InvalidInput as error:
            self.write(error_frame(id_, error))
            return
        host.open_n += 1
        deadline_at = monotonic() + received.a * 0.001
        call = Drive(host.endpoint.infer(request, deadline_at=deadline_at), partial(self._answer, id_))
        self._calls[id_] = call
        call.begin()

    def _answer(self, id_: int, response: Any, error: BaseException | None) -> None:
        host = self._host
        host.open_n -= 1
        del self._calls[id_]
        if self._transport.is_closing() or isinstance(error, asyncio.CancelledError):
            return
        if error is not None:
            host.counts.failed_n += 1
            self.write(error_frame(id_, error))
            return
        for part in host.wire.response(response, id_):
            self.write(part)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if not out or self._transport.is_closing():
            return
        self.has_written = True
        self._transport.writelines(out)
        if self._transport.get_write_buffer_size() > UNWRITTEN_BYTES:
            self._host.counts.slow_n += 1
            self._transport.abort()

    def _refuse(self, why: str) -> None:
        """Say why, which holds nothing of the secret, and hang up."""
        self._out.append(error_frame(0, NotReady(why)))
        self.hang_up()
