"""What goes out: frames in order, and bodies as far as the peer's windows and the socket allow."""

from collections.abc import Callable, Iterable
from typing import Final

from gateway.frontends.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEADERS,
    WINDOW_BYTES,
    WINDOW_MOST,
    Code,
    ConnectionFault,
    StreamFault,
    frame,
    pack_head,
)
from gateway.frontends.http2.stream import Stream

BATCH_BYTES: Final = 512 << 10  # of bodies that are made ready before the socket has taken them
OUR_FRAME_BYTES: Final = 256 << 10  # nobody gains by longer ones, and other streams wait behind each
STALL_S: Final = 60.0  # for a client to let any of an answer go out


class Outbound:
    """The frames of one connection. `ended` is called when a stream's last byte is among them."""

    def __init__(self, ended: Callable[[Stream], None]) -> None:
        self._ended = ended
        self._out: list[bytes | memoryview] = []
        self._bodies_n = 0  # bytes of bodies in there
        self._waiting: dict[int, Stream] = {}  # in the order in which they are served
        self.window = WINDOW_BYTES
        self.stream_window = WINDOW_BYTES  # for a stream that begins
        self.frame_bytes = FRAME_BYTES
        self.is_held = False  # the socket takes no more for now

    def put(self, piece: bytes) -> None:
        """A frame that no window bounds."""
        self._out.append(piece)

    def take(self) -> bytes:
        """All that is ready; empty if nothing is."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        self._bodies_n = 0
        return data

    @property
    def has_ready(self) -> bool:
        """There is something to `take`."""
        return bool(self._out)

    def headers(self, stream: Stream, block: bytes, flags: int = 0) -> None:
        """A header block, in as many frames as it takes."""
        if len(block) <= self.frame_bytes:
            self._out.append(frame(HEADERS, flags | END_HEADERS, stream.id, block))
            return
        pieces = [block[at : at + self.frame_bytes] for at in range(0, len(block), self.frame_bytes)]
        self._out.append(frame(HEADERS, flags, stream.id, pieces[0]))
        self._out.extend(frame(CONTINUATION, 0, stream.id, piece) for piece in pieces[1:-1])
        self._out.append(frame(CONTINUATION, END_HEADERS, stream.id, pieces[-1]))

    def answer(self, stream: Stream, head: bytes, prefix: bytes, body: bytes, trailers: bytes) -> None:
        """A whole answer, whose trailers fit a frame. Most are short and go out as they are."""
        n, head_n, trailers_n, stream_id = len(prefix) + len(body), len(head), len(trailers), stream.id
        fits = n <= FRAME_BYTES >= head_n and n <= stream.send_window and n <= self.window
        if not fits or self._waiting or self.is_held:
            self.headers(stream, head)
            self.body(stream, prefix, body)
            self.end(stream, trailers)
            return
        self.window -= n
        self._bodies_n += n
        self._out += (
            pack_head(head_n >> 8, head_n & 0xFF, HEADERS, END_HEADERS, stream_id),
            head,
            pack_head(n >> 8, n & 0xFF, DATA, 0, stream_id),
            prefix,
            body,
            pack_head(trailers_n >> 8, trailers_n & 0xFF, HEADERS, END_HEADERS | END_STREAM, stream_id),
            trailers,
        )
        self._ended(stream)

    def body(self, stream: Stream, *pieces: bytes) -> None:
        """More of a body, which begins to go out with `pump` or `end`."""
        for piece in pieces:
            if piece:
                stream.outbox.append(memoryview(piece))
                stream.unsent_n += len(piece)
        self._waiting[stream.id] = stream

    def end(self, stream: Stream, trailers: bytes) -> None:
        """The last header block, once all before it has gone out."""
        stream.trailers = trailers
        self._waiting[stream.id] = stream
        self.pump()

    def pump(self) -> None:
        """Make ready what may go out, a frame from each stream in turn."""
        moved = bool(self._waiting)
        while moved:
            moved = False
            for stream in list(self._waiting.values()):
                if self.is_held or self._bodies_n >= BATCH_BYTES:
                    return
                if self._next_frame(stream):
                    moved = True

    def widen(self, stream: Stream | None, n: int) -> None:
        """The peer opened a window, its connection's if `stream` is None. Raises a fault for a window too wide."""
        if stream is None:
            self.window += n
            if self.window > WINDOW_MOST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the connection's window grew beyond the largest")
        else:
            stream.send_window += n
            if stream.send_window > WINDOW_MOST:
                raise StreamFault(stream.id, Code.FLOW_CONTROL_ERROR)

    def resize(self, stream_window: int, streams: Iterable[Stream]) -> None:
        """The peer gives streams another first window, those it has begun included; theirs may fall below 0."""
        step, self.stream_window = stream_window - self.stream_window, stream_window
        for stream in streams:
            stream.send_window += step
            if stream.send_window > WINDOW_MOST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a stream's window grew beyond the largest")

    def forget(self, stream: Stream) -> None:
        """The stream is over; what waits for it is not sent."""
        self._waiting.pop(stream.id, None)
        stream.outbox.clear()
        stream.unsent_n = 0

    def stalled(self, now: float) -> list[Stream]:
        """Streams of whose answers the peer has let nothing out for too long. To be asked about once a second."""
        late: list[Stream] = []
        for stream in self._waiting.values():
            if stream.unsent_n != stream.unsent_seen_n:
                stream.unsent_seen_n, stream.since = stream.unsent_n, now
            elif now - stream.since > STALL_S:
                late.append(stream)
        return late

    def _next_frame(self, stream: Stream) -> bool:
        """Whether anything of the stream could be made ready."""
        outbox = stream.outbox
        if outbox:
            n = min(len(outbox[0]), self.window, stream.send_window, self.frame_bytes)
            if n <= 0:
                return False
            piece = outbox[0][:n]
            if n == len(outbox[0]):
                outbox.popleft()
            else:
                outbox[0] = outbox[0][n:]
            self.window -= n
            stream.send_window -= n
            stream.unsent_n -= n
            self._bodies_n += n
            self._out.append(pack_head(n >> 8, n & 0xFF, DATA, 0, stream.id))
            self._out.append(piece)
        del self._waiting[stream.id]
        if outbox:
            self._waiting[stream.id] = stream  # behind the others
        elif stream.trailers is not None:
            self.headers(stream, stream.trailers, END_STREAM)
            self._ended(stream)
        elif stream.on_sent is not None:
            stream.on_sent()
        return True
