"""The gateway's end of one connection to a replica."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from runners.core.errors import DeadlineExceeded, ExecutionFailed, NotReady, Overloaded
from runners.core.tensor import InferenceRequest, InferenceResponse
from runners.core.tensor_binary import Buffer
from runners.ray import greeting
from runners.ray.frame import FRAME_BYTES, Frame, FrameError, FrameReader, Type, frame
from runners.ray.greeting import Refused, Secret, Welcome
from runners.ray.tensors import Wire, read_error

WELCOME_BYTES = 1 << 20  # models may have thousands of inputs
UNSENT_BYTES = 128 << 20  # of requests that a replica does not fetch; more are refused
HUNG_UP = "it hung up"
_U32 = 0xFFFF_FFFF
_RES = int(Type.RES)


class ReplicaLost(ExecutionFailed):
    """The connection ended while the request was under way; it may have been answered, or not even read."""


class Asked:
    """One request under way."""

    __slots__ = ("began_at", "deadline_at", "future", "id", "link")

    def __init__(self, link: "Link", id_: int, began_at: float, deadline_at: float) -> None:
        self.link = link
        self.id = id_
        self.began_at = began_at
        self.deadline_at = deadline_at
        self.future: asyncio.Future[InferenceResponse] = link.loop.create_future()

    def leave(self) -> None:
        """Nobody waits any more: the replica is told."""
        self.link.forget(self.id)


class Link(asyncio.BufferedProtocol):
    """One connection, from the greeting to its end. `seen` is told how long each call took, and whether it failed.

    `welcomed` has the replica's welcome, or why there is none. `changed` is called when the replica asks
    us to leave, and when it is over.
    """

    def __init__(self, secret: Secret, seen: Callable[[float, bool], None], changed: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[Welcome] = self.loop.create_future()
        self.pending: dict[int, Asked] = {}
        self.heard_at = monotonic()
        self.is_leaving = False  # the replica asked us to
        self.why = ""  # it has ended
        self.open_n = self.waiting_n = 0  # calls of all gateways at the replica, as it said last
        self._seen = seen
        self._changed = changed
        self._secret = secret
        self._key = b""
        self._ours = greeting.nonce()
        self._theirs = b""
        self._wire: Wire | None = None
        self._reader = FrameReader()
        self._transport: Any = None
        self._out: list[Buffer] = []
        self._next_id = 0

    def ask(self, request: InferenceRequest, deadline_at: float) -> Asked:
        """Send a request. Raises Overloaded when too much waits to be sent, NotReady when it has ended."""
        if self.why or self._wire is None:
            raise NotReady(f"the connection has ended: {self.why}")
        if self._transport.get_write_buffer_size() > UNSENT_BYTES:
            raise Overloaded(f"{UNSENT_BYTES >> 20} MiB wait to be sent to the replica already")
        self._next_id = id_ = self._next_id + 1 & _U32
        now = monotonic()
        parts = self._wire.request(request, id_, int((deadline_at - now) * 1000) + 1)
        asked = self.pending[id_] = Asked(self, id_, now, deadline_at)
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out += parts
        return asked

    def forget(self, id_: int) -> None:
        if self.pending.pop(id_, None) is not None and not self.why:
            self._write(frame(Type.CANCEL, id_=id_))

    def expire(self, now: float) -> int:
        """Answer for all whose deadline has come, and say how many those were."""
        due = [asked for asked in self.pending.values() if asked.deadline_at <= now]
        for asked in due:
            self.forget(asked.id)
            self._seen(now - asked.began_at, True)
            if not asked.future.done():
                asked.future.set_exception(DeadlineExceeded("the deadline passed before the replica had answered"))
        return len(due)

    def fail(self, why: str) -> None:
        """Answer for all who wait, with NotReady; the connection stays."""
        pending, self.pending = self.pending, {}
        for asked in pending.values():
            if not asked.future.done():
                asked.future.set_exception(NotReady(why))

    def ping(self) -> None:
        self._write(frame(Type.PING))

    def lose(self, why: str) -> None:
        """It is over, for everybody who waits as well."""
        if self.why:
            return
        self.why = why
        if not self.welcomed.done():
            self.welcomed.set_exception(Refused(why))
        if self._transport is not None:
            self._transport.abort()
        pending, self.pending = self.pending, {}
        for asked in pending.values():
            if not asked.future.done():
                asked.future.set_exception(ReplicaLost(f"the replica was lost: {why}"))
        self._changed()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self.why:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(f"{type(exc).__name__}: {exc}" if exc else HUNG_UP)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self.heard_at = monotonic()
        try:
            for received in self._reader.received(nbytes):
                self._take(received)
                if self.why:
                    return
        except (FrameError, Refused) as error:
            self.lose(str(error))

    def _take(self, received: Frame) -> None:
        kind = received.type
        if kind == _RES and self._wire is not None:
            asked = self.pending.pop(received.id, None)
            if asked is not None and not asked.future.done():
                response = self._wire.read_response(received)
                self._seen(self.heard_at - asked.began_at, False)
                asked.future.set_result(response)
        elif kind == Type.ERR:
            self._take_error(received)
        elif kind == Type.PONG:
            self.open_n, self.waiting_n = received.a, received.b
        elif kind == Type.GOAWAY:
            self.is_leaving = True
            self._changed()
        else:
            self._greet(received)

    def _take_error(self, received: Frame) -> None:
        error = read_error(received)
        if received.id == 0:
            self.lose(f"the replica says: {error}")
            return
        asked = self.pending.pop(received.id, None)
        if asked is not None and not asked.future.done():
            self._seen(self.heard_at - asked.began_at, error.fallback_helps)
            asked.future.set_exception(error)

    def _greet(self, received: Frame) -> None:
        if received.type == Type.HELLO and not self._theirs:
            self._theirs = greeting.read_hello(received)
            self._key = self._secret.keys()[0]
            self._reader.limit = WELCOME_BYTES
            self._write(frame(Type.AUTH, greeting.auth(self._key, self._theirs, self._ours)))
        elif received.type == Type.OK and self._theirs and self._wire is None:
            welcome = greeting.read_ok(received, self._key, self._theirs, self._ours)
            self._reader.limit = FRAME_BYTES
            self._wire = Wire(welcome.description.signature)
            if not self.welcomed.done():
                self.welcomed.set_result(welcome)
        else:
            raise FrameError(f"type {received.type} where none belongs")

    def _write(self, part: bytes) -> None:
        if self._transport is None:
            return
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(part)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and not self.why:
            self._transport.writelines(out)
