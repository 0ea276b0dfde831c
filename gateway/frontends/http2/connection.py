"""The server's side of one HTTP/2 connection: frames in, calls up, frames out. It knows no socket and reads no clock.

Everything a peer sends is bounded: header blocks, streams, bytes on their way in, frames that only make work. A peer
that breaks the protocol is told so by GOAWAY, after which its connection is over, or where the fault is one stream's by
RST_STREAM.

Source: RFC 9113; CVE-2023-44487 (resets), CVE-2024-27316 (CONTINUATION).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from gateway.frontends.http2 import frames as f
from gateway.frontends.http2.allowance import Allowances
from gateway.frontends.http2.frames import Code, ConnectionFault, StreamFault, frame, pack_number
from gateway.frontends.http2.headers import Field, HeaderBlocks, HeaderReader
from gateway.frontends.http2.inbound import STREAM_WINDOW, Inbound
from gateway.frontends.http2.outbound import OUR_FRAME_BYTES, Outbound
from gateway.frontends.http2.settings import OUR_SETTINGS, STREAMS_LIMIT, read_settings, write_settings
from gateway.frontends.http2.stream import Stream

LITTLE_BYTES: Final = 1024
GOODBYE: Final = b"turnout!"  # the ping that tells when the peer has read the first GOAWAY


class Calls(Protocol):
    """Whoever answers. None of this raises anything but StreamFault."""

    def began(self, stream: Stream, /) -> None: ...
    def came(self, stream: Stream, data: bytes, /) -> None: ...
    def heard(self, stream: Stream, /) -> None: ...  # there will be no more
    def gone(self, stream: Stream, /) -> None: ...  # nobody waits for the answer any more


class Connection:
    """One connection. Give it bytes with `receive`, send what `take` returns."""

    def __init__(self, calls: Calls, parse: Callable[[Sequence[Field], int], Any], room: int) -> None:
        """`parse` makes heads of headers and raises ValueError; `room` bounds the bytes of large messages coming in."""
        self._calls = calls
        self._streams: dict[int, Stream] = {}
        self._frames = f.FrameReader()
        self._headers: HeaderReader[Any] = HeaderReader(parse)
        self.out = Outbound(self._ended)
        self._in = Inbound(self.out.put, room)
        self._allowances = Allowances()
        self._preface = b""
        self._is_greeted = False
        self._last_id = 0
        self._blocks = HeaderBlocks()
        self._is_leaving = False
        self.has_left = False  # no new stream is taken
        self.fault: ConnectionFault | None = None  # why it is over
        self._put = self.out.put
        self._put(frame(f.SETTINGS, 0, 0, write_settings(OUR_SETTINGS)))
        self._in.open()

    @property
    def streams_n(self) -> int:
        return len(self._streams)

    @property
    def is_mute(self) -> bool:
        """The peer has not yet said what makes it one of HTTP/2, or has left a header block open."""
        return not self._is_greeted or self._blocks.is_open

    def receive(self, data: bytes) -> ConnectionFault | None:
        """Take what came. Returns what is wrong with it, after which no more may be given."""
        try:
            if len(self._preface) < len(f.PREFACE):
                data = self._greet(data)
            for kind, flags, stream_id, payload in self._frames.read(data):
                try:
                    self._handle(kind, flags, stream_id, payload)
                except StreamFault as fault:
                    self._allowances.reset()
                    self.reset(fault.stream_id, fault.code)
            self.out.pump()
        except ConnectionFault as fault:
            self.fail(fault)
        return self.fault

    def take(self) -> bytes:
        """What is to be sent."""
        return self.out.take()

    def expect(self, stream: Stream, missing_n: int) -> None:
        """The message that is coming lacks so many bytes."""
        self._in.expect(stream, missing_n)

    def took(self, stream: Stream, held_n: int) -> None:
        """All that came on the stream has been taken, but for `held_n` bytes."""
        if not stream.has_ended:
            self._in.took(stream, held_n)

    def reset(self, stream_id: int, code: Code) -> None:
        """Give a stream up."""
        self._put(frame(f.RST_STREAM, 0, stream_id, pack_number(code)))
        self._drop(stream_id)

    def leave(self) -> None:
        """Ask the peer to begin no more calls here; those on their way are still taken, until `say_goodbye`."""
        if not self._is_leaving and self.fault is None:
            self._is_leaving = True
            self._put(frame(f.GOAWAY, 0, 0, pack_number(f.WINDOW_MOST) + pack_number(Code.NO_ERROR)))
            self._put(frame(f.PING, 0, 0, GOODBYE))

    def say_goodbye(self) -> None:
        """Take no new call: the peer knows."""
        if not self.has_left:
            self.has_left = True
            self._put(frame(f.GOAWAY, 0, 0, pack_number(self._last_id) + pack_number(Code.NO_ERROR)))

    def ping(self) -> None:
        """Ask whether anybody is there."""
        self._put(frame(f.PING, 0, 0, bytes(8)))

    def fail(self, fault: ConnectionFault) -> None:
        """Tell the peer why, and let go of all it asked for."""
        if self.fault is None:
            self.fault = fault
            payload = pack_number(self._last_id) + pack_number(fault.code) + fault.why.encode()
            self._put(frame(f.GOAWAY, 0, 0, payload))
        self.lose()

    def lose(self) -> None:
        """The connection is over."""
        for stream_id in list(self._streams):
            self._drop(stream_id)

    def sweep(self, now: float, passed_s: float) -> None:
        """What time brings: allowances fill up, streams whose answers nobody takes are given up."""
        self._allowances.refill(passed_s)
        for stream in self.out.stalled(now):
            self.reset(stream.id, Code.CANCEL)
        if self._is_leaving:
            self.say_goodbye()

    def _greet(self, data: bytes) -> bytes:
        missing = len(f.PREFACE) - len(self._preface)
        self._preface += data[:missing]
        if not f.PREFACE.startswith(self._preface):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks gRPC, which is HTTP/2")
        return data[missing:]

    def _handle(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._blocks.is_open and (kind != f.CONTINUATION or stream_id != self._blocks.stream_id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "another frame came before the end of a header block")
        if not self._is_greeted:
            if kind != f.SETTINGS or flags & f.ACK:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._is_greeted = True
        if kind == f.DATA:
            self._on_data(flags, stream_id, payload)
        elif kind == f.HEADERS:
            self._on_headers(flags, stream_id, payload)
        elif kind == f.WINDOW_UPDATE:
            self._on_window_update(stream_id, payload)
        else:
            self._handle_rare(kind, flags, stream_id, payload)

    def _handle_rare(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        match kind:
            case f.CONTINUATION:
                self._on_block(self._blocks.go_on(flags, payload))
            case f.RST_STREAM:
                self._on_reset(stream_id, payload)
            case f.SETTINGS:
                self._on_settings(flags, stream_id, payload)
            case f.PING:
                self._on_ping(flags, stream_id, payload)
            case f.PUSH_PROMISE:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "clients promise nothing")
            case _:
                self._allowances.oddity()  # PRIORITY, GOAWAY and kinds unknown: nothing to do

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id > self._last_id or not stream_id & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "data came for a stream that has not begun")
        data = f.unpadded(flags, payload) if flags & f.PADDED else payload
        stream = self._streams.get(stream_id)
        if stream is not None and stream.is_heard:
            raise StreamFault(stream_id, Code.STREAM_CLOSED)
        self._in.came(stream, len(payload), len(data))
        is_last = flags & f.END_STREAM
        if len(data) < LITTLE_BYTES and (stream is None or not (data or is_last)):
            self._allowances.oddity()  # of nothing, or for a stream given up, if not the rest of a large message
        if stream is None:
            return
        if is_last:
            stream.is_heard = True
        if data:
            self._calls.came(stream, data)
        if is_last and not stream.has_ended:
            self._calls.heard(stream)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "clients' streams have odd numbers")
        self._on_block(self._blocks.begin(flags, stream_id, payload))

    def _on_block(self, block: bytes | None) -> None:
        if block is None:
            return
        stream_id, flags = self._blocks.stream_id, self._blocks.flags
        if stream_id > self._last_id:
            self._begin(flags, stream_id, block)
        else:
            self._on_trailers(flags, stream_id, block)

    def _begin(self, flags: int, stream_id: int, block: bytes) -> None:
        self._last_id = stream_id
        if self.has_left or len(self._streams) >= STREAMS_LIMIT:
            self._headers.skip(block)
            raise StreamFault(stream_id, Code.REFUSED_STREAM)
        try:
            head = self._headers.read(block)
        except ValueError:
            raise StreamFault(stream_id, Code.PROTOCOL_ERROR) from None
        stream = Stream(stream_id, head, STREAM_WINDOW, self.out.stream_window)
        self._streams[stream_id] = stream
        stream.is_heard = bool(flags & f.END_STREAM)
        self._calls.began(stream)
        if stream.is_heard and not stream.has_ended:
            self._calls.heard(stream)

    def _on_trailers(self, flags: int, stream_id: int, block: bytes) -> None:
        self._headers.skip(block)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._allowances.oddity()
        elif stream.is_heard or not flags & f.END_STREAM:
            raise StreamFault(stream_id, Code.PROTOCOL_ERROR)
        else:
            stream.is_heard = True
            self._calls.heard(stream)

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        step = f.number_of(payload) & f.WINDOW_MOST
        self._demand_begun(stream_id)
        stream = self._streams.get(stream_id)
        if step == 0:
            if stream_id == 0:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a window is opened by nothing")
            raise StreamFault(stream_id, Code.PROTOCOL_ERROR)
        if stream is not None or stream_id == 0:
            self.out.widen(stream, step)

    def _on_reset(self, stream_id: int, payload: bytes) -> None:
        f.number_of(payload)
        self._demand_begun(stream_id)
        if stream_id == 0:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the connection cannot be reset as a stream")
        self._allowances.reset()
        self._drop(stream_id)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "settings are the connection's")
        self._allowances.oddity()
        if flags & f.ACK:
            return
        wanted = read_settings(payload)
        if wanted.stream_window is not None:
            self.out.resize(wanted.stream_window, self._streams.values())
        if wanted.frame_bytes is not None:
            self.out.frame_bytes = min(wanted.frame_bytes, OUR_FRAME_BYTES)
        self._put(frame(f.SETTINGS, f.ACK, 0))

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "pings are the connection's")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a ping has 8 bytes")
        self._allowances.oddity()
        if not flags & f.ACK:
            self._put(frame(f.PING, f.ACK, 0, payload))
        elif payload == GOODBYE and self._is_leaving:
            self.say_goodbye()

    def _ended(self, stream: Stream) -> None:
        """Our side of the stream is complete."""
        stream.has_ended = True
        if self._streams.pop(stream.id, None) is None:
            return
        if not stream.is_heard:
            self._put(frame(f.RST_STREAM, 0, stream.id, pack_number(Code.NO_ERROR)))  # the rest of it is not wanted
        self._in.forget(stream)

    def _drop(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.has_ended = True
            self.out.forget(stream)
            self._in.forget(stream)
            self._calls.gone(stream)

    def _demand_begun(self, stream_id: int) -> None:
        if stream_id > self._last_id or (stream_id and not stream_id & 1):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame came for a stream that has not begun")
