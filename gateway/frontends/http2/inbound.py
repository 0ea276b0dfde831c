"""How much a peer may send before it is taken: a window for each stream, room for large messages for the connection.

A stream's window lets small messages come at once. For a larger one, whose length is known from its first bytes, the
rest is granted in one piece as soon as there is room, first come, first served. So a connection never holds more than a
window for each stream and its room, and a message that was let in can always come to its end: nobody waits for nobody.
The connection's own window is therefore always opened again at once.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.frontends.http2.frames import (
    WINDOW_BYTES,
    WINDOW_UPDATE,
    Code,
    ConnectionFault,
    StreamFault,
    frame,
    pack_number,
)
from gateway.frontends.http2.stream import Stream

STREAM_WINDOW: Final = 128 << 10
CONNECTION_WINDOW: Final = 16 << 20


class Inbound:
    """The windows we give. `put` takes frames that go out."""

    def __init__(self, put: Callable[[bytes], None], room: int) -> None:
        """`room` is how many bytes of large messages may be on their way at once; it must fit the largest."""
        self._put = put
        self._room = room
        self._window = WINDOW_BYTES
        self._waiting: deque[Stream] = deque()

    def open(self) -> None:
        """Give the connection its window."""
        self._grant_connection()

    def came(self, stream: Stream | None, frame_n: int, data_n: int) -> None:
        """Note a DATA frame of `frame_n` bytes, padding included, with `data_n` of data. Raises a fault if too much."""
        self._window -= frame_n
        if self._window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more data came than the connection's window allows")
        if self._window < CONNECTION_WINDOW // 2:
            self._grant_connection()
        if stream is None:
            return
        stream.receive_window -= frame_n
        if stream.receive_window < 0:
            raise StreamFault(stream.id, Code.FLOW_CONTROL_ERROR)
        stream.held_n += data_n
        if frame_n != data_n:
            self._grant(stream, frame_n - data_n)

    def expect(self, stream: Stream, missing_n: int) -> None:
        """A message lacks so many bytes. They are granted now, or when there is room."""
        need = missing_n - stream.receive_window
        if need <= 0 or stream.wanted_n:
            return
        stream.wanted_n = need
        self._waiting.append(stream)
        self._let_in()

    def took(self, stream: Stream, held_n: int) -> None:
        """Whoever answers has taken what came, but for `held_n` bytes."""
        stream.held_n = held_n
        if stream.reserved_n:
            self._room += stream.reserved_n
            stream.reserved_n = 0
            self._let_in()
        lacking = STREAM_WINDOW - held_n - stream.receive_window
        if lacking >= STREAM_WINDOW // 2 and not stream.is_heard:
            self._grant(stream, lacking)

    def forget(self, stream: Stream) -> None:
        """The stream is over."""
        if stream.wanted_n:
            self._waiting.remove(stream)
            stream.wanted_n = 0
        if stream.reserved_n:
            self._room += stream.reserved_n
            stream.reserved_n = 0
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0].wanted_n <= self._room:
            stream = self._waiting.popleft()
            need, stream.wanted_n = stream.wanted_n, 0
            self._room -= need
            stream.reserved_n += need
            self._grant(stream, need)

    def _grant(self, stream: Stream, n: int) -> None:
        stream.receive_window += n
        self._put(frame(WINDOW_UPDATE, 0, stream.id, pack_number(n)))

    def _grant_connection(self) -> None:
        self._put(frame(WINDOW_UPDATE, 0, 0, pack_number(CONNECTION_WINDOW - self._window)))
        self._window = CONNECTION_WINDOW
