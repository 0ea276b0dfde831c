"""The way to a replica whose socket cannot be reached: many requests in one message of somebody else's, and back.

    gateway ═ hop ═► agent: BundledEndpoint ── bytes by a Serve handle ──► replica: answer_bundle ──► the opened model

A message costs a millisecond there whatever is in it, so the next bundle forms while one is under way. A bundle is
frames one after the other, REQ there, RES and ERR back in any order; each request keeps its own deadline and error.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from time import monotonic

from runners.core.checks import InputCheck
from runners.core.errors import DeadlineExceeded, ExecutionFailed, NotReady, Overloaded
from runners.core.runner import Description, Endpoint
from runners.core.tensor import InferenceRequest, InferenceResponse, bytes_of
from runners.ray.frame import FRAME_BYTES, Frame, FrameError, FrameReader, Type
from runners.ray.tensors import Wire, error_frame, read_error

Send = Callable[[bytes], Awaitable[bytes]]
BUNDLE_BYTES = 16 << 20  # what is gathered beyond a first request; a larger one goes by itself
WAITING_N = 1024
_NOT_ANSWERED = "the replica's message has no answer to this request"


class _Waiting:
    __slots__ = ("bytes_n", "deadline_at", "future", "request")

    def __init__(self, request: InferenceRequest, deadline_at: float, loop: asyncio.AbstractEventLoop) -> None:
        self.request = request
        self.deadline_at = deadline_at
        self.bytes_n = bytes_of(request.inputs)
        self.future: asyncio.Future[InferenceResponse] = loop.create_future()


class BundledEndpoint:
    """Asks through `send`, which takes a bundle and gives another; at most one is under way. `is_up` says whether there
    is anybody to send it to.
    """

    def __init__(self, description: Description, send: Send, is_up: Callable[[], bool]) -> None:
        self.description = description
        self._send = send
        self._is_up = is_up
        self._wire = Wire(description.signature)
        self._check_input = InputCheck(description.signature)
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[_Waiting, None] = {}
        self._pending: set[_Waiting] = set()  # waiting or under way
        self._sending: asyncio.Task[None] | None = None
        self._is_closed = False

    def ready(self) -> bool:
        return not self._is_closed and self._is_up()

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        """Raises what the replica's endpoint raises, and ExecutionFailed when the message is lost."""
        if not self.ready():
            raise NotReady("the model is closed" if self._is_closed else "no replica is known")
        self._check_input(request)
        left_s = deadline_at - monotonic()
        if left_s <= 0:
            raise DeadlineExceeded("the deadline had passed before a replica was called")
        if len(self._pending) >= WAITING_N:
            raise Overloaded(f"{WAITING_N} calls wait for the replica already")
        call = _Waiting(request, deadline_at, self._loop)
        timer = self._loop.call_later(left_s, _expire, call)
        self._pending.add(call)
        self._waiting[call] = None
        if self._sending is None:
            self._sending = self._loop.create_task(self._send_all())
        try:
            return await call.future
        finally:
            timer.cancel()
            self._pending.discard(call)
            self._waiting.pop(call, None)

    async def close(self) -> None:
        self._is_closed = True
        for call in tuple(self._pending):
            if not call.future.done():
                call.future.set_exception(NotReady("the model was closed"))
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send_all(self) -> None:
        """Bundle after bundle, until nobody waits."""
        try:
            while calls := self._next_bundle():
                await self._send_bundle(calls)
        finally:
            self._sending = None

    def _next_bundle(self) -> dict[int, _Waiting]:
        calls: dict[int, _Waiting] = {}
        bytes_n = 0
        for id_, call in zip(count(1), list(self._waiting), strict=False):
            bytes_n += call.bytes_n
            if calls and bytes_n > BUNDLE_BYTES:
                break
            del self._waiting[call]
            if not call.future.done():
                calls[id_] = call
        return calls or (self._next_bundle() if self._waiting else {})

    async def _send_bundle(self, calls: dict[int, _Waiting]) -> None:
        now = monotonic()
        parts = []
        for id_, call in calls.items():
            parts += self._wire.request(call.request, id_, int((call.deadline_at - now) * 1000) + 1)
        why: Exception = ExecutionFailed(_NOT_ANSWERED)
        try:
            async with asyncio.timeout(max(call.deadline_at for call in calls.values()) - now):
                for received in frames_of(await self._send(b"".join(parts))):
                    self._settle(calls.pop(received.id, None), received)
        except TimeoutError:
            why = DeadlineExceeded("the deadline passed before the replica had answered")
        except Exception as error:  # noqa: BLE001  whatever carries the message has errors of its own
            why = ExecutionFailed(f"the message was lost: {type(error).__name__}: {error}")
        for call in calls.values():
            if not call.future.done():
                call.future.set_exception(type(why)(str(why)))

    def _settle(self, call: _Waiting | None, received: Frame) -> None:
        if call is None or call.future.done():
            return
        if received.type == Type.RES:
            call.future.set_result(self._wire.read_response(received))
        else:
            call.future.set_exception(read_error(received))


async def answer_bundle(endpoint: Endpoint, wire: Wire, bundle: bytes) -> bytes:
    """What `endpoint` says to each request of a bundle; they are all asked at once, so that it can batch them.

    Raises FrameError for what is no bundle.
    """
    requests = list(frames_of(bundle))
    answers = await asyncio.gather(*[_answer(endpoint, wire, received) for received in requests])
    return b"".join(answers)


async def _answer(endpoint: Endpoint, wire: Wire, received: Frame) -> bytes:
    try:
        request = wire.read_request(received, "")
        response = await endpoint.infer(request, deadline_at=monotonic() + received.a * 0.001)
    except Exception as error:  # noqa: BLE001  it is told to whoever asked
        return error_frame(received.id, error)
    return b"".join(wire.response(response, received.id))


def frames_of(bundle: bytes) -> Iterator[Frame]:
    """Raises FrameError for bytes that are not whole frames."""
    reader, at, view = FrameReader(FRAME_BYTES), 0, memoryview(bundle)
    while at < len(bundle):
        room = reader.buffer()
        step = min(len(room), len(bundle) - at)
        room[:step] = view[at : at + step]
        at += step
        yield from reader.received(step)
    if reader.is_within_frame:
        raise FrameError("a bundle that ends within a frame")


def _expire(call: _Waiting) -> None:
    if not call.future.done():
        call.future.set_exception(DeadlineExceeded("the deadline passed before the replica had answered"))
