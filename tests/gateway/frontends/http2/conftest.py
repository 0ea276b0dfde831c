"""Both ends of a connection in memory: ours, and h2 as a client that somebody else wrote."""

from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import pytest

from gateway.frontends.http2.connection import Connection
from gateway.frontends.http2.frames import PREFACE, SETTINGS, frame
from gateway.frontends.http2.headers import field
from gateway.frontends.http2.stream import Stream

HEAD = b"\x88" + field(b"content-type", b"application/grpc")
TRAILERS = field(b"grpc-status", b"0")
ROOM = 1 << 20
GREETING = PREFACE + frame(SETTINGS, 0, 0)
REQUEST = ((":method", "POST"), (":scheme", "http"), (":path", "/a/b"), (":authority", "x"))


def parse(fields, size: int) -> dict:
    head = dict(fields)
    if head.get(b"bad"):
        raise ValueError("bad")
    return head


class Echo:
    """Answers each request with its body once it is whole, and remembers what it was told."""

    def __init__(self, *, answers: bool = True, takes: bool = True) -> None:
        self.connection = Connection(self, parse, ROOM)
        self.answers, self.takes = answers, takes
        self.told: list[tuple[str, int]] = []
        self.bodies: dict[int, bytes] = {}
        self.streams: dict[int, Stream] = {}

    def began(self, stream: Stream) -> None:
        self.told.append(("began", stream.id))
        self.streams[stream.id] = stream
        self.bodies[stream.id] = b""

    def came(self, stream: Stream, data: bytes) -> None:
        self.bodies[stream.id] += data
        if self.takes:
            self.connection.took(stream, 0)

    def heard(self, stream: Stream) -> None:
        self.told.append(("heard", stream.id))
        if self.answers:
            self.answer(stream, self.bodies[stream.id])

    def gone(self, stream: Stream) -> None:
        self.told.append(("gone", stream.id))

    def answer(self, stream: Stream, body: bytes) -> None:
        self.connection.out.answer(stream, HEAD, b"", body, TRAILERS)


class Client:
    """h2 at the other end. It notes what comes, and widens its windows only when told to."""

    def __init__(self, server: Echo) -> None:
        self.server = server
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.ended: list[int] = []
        self.reset: dict[int, int] = {}
        self.goodbyes: list[h2.events.ConnectionTerminated] = []
        self.owed: dict[int, int] = {}

    def begin(self, body: bytes | None = b"", headers=REQUEST) -> int:
        """Start a request; with a body, end it as well."""
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers)
        self.bodies[stream_id] = b""
        if body is not None:
            self.send(stream_id, body)
            self.h2.end_stream(stream_id)
        return stream_id

    def send(self, stream_id: int, body: bytes) -> None:
        for at in range(0, len(body), 16_384):
            self.h2.send_data(stream_id, body[at : at + 16_384])

    def talk(self, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> None:
        """Let both ends speak until neither has anything to say."""
        while True:
            said = self.h2.data_to_send()
            for piece in cut(said):
                self.server.connection.receive(piece)
            heard = self.server.connection.take()
            if not said and not heard:
                return
            for event in self.h2.receive_data(heard):
                self._note(event)

    def widen(self) -> None:
        """Take what came, so that as much again may come."""
        for stream_id, n in self.owed.items():
            self.h2.acknowledge_received_data(n, stream_id)
        self.owed = {}

    def _note(self, event: object) -> None:
        match event:
            case h2.events.DataReceived():
                self.bodies[event.stream_id] += event.data
                self.owed[event.stream_id] = self.owed.get(event.stream_id, 0) + event.flow_controlled_length
            case h2.events.StreamEnded():
                self.ended.append(event.stream_id)
            case h2.events.StreamReset():
                self.reset[event.stream_id] = event.error_code
            case h2.events.ConnectionTerminated():
                self.goodbyes.append(event)


@pytest.fixture
def make_server():
    return Echo


@pytest.fixture
def make_client():
    return Client


@pytest.fixture
def server() -> Echo:
    return Echo()


@pytest.fixture
def client(server) -> Client:
    return Client(server)


@pytest.fixture
def greeted(server) -> Echo:
    """A server that has been greeted by hand, and whose own greeting is out of the way."""
    server.connection.receive(GREETING)
    server.connection.take()
    return server
