"""When a connection is given up: time is passed in, and the transport is a fake that notes what is done to it."""

import asyncio

import pytest

from gateway.frontends import grpc_protocol
from gateway.frontends.grpc_protocol import FAREWELL_S, HEAD_S, QUIET_S, REPLY_S, WRITE_S, GrpcProtocol
from gateway.frontends.http2 import frames as f
from gateway.frontends.http2.frames import FrameReader, frame, pack_number
from gateway.frontends.limits import Limits

GREETING = f.PREFACE + frame(f.SETTINGS, 0, 0)


class Transport:
    def __init__(self) -> None:
        self.written = b""
        self.unsent_n = 0
        self.was_closed = self.was_aborted = False

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return "10.0.0.9", 4711

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.was_closed

    def close(self) -> None:
        self.was_closed = True

    def abort(self) -> None:
        self.was_aborted = self.was_closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent_n


class Host:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.calls_n = 0
        self.connections: set[GrpcProtocol] = set()
        self.refused: list[str] = []

    def joined(self, connection: GrpcProtocol) -> None:
        self.connections.add(connection)

    def left(self, connection: GrpcProtocol) -> None:
        self.connections.discard(connection)

    def count_refused(self, code: str) -> None:
        self.refused.append(code)


class Wire:
    """A protocol between a fake host and a fake transport."""

    def __init__(self, greeting: bytes = GREETING, **limits) -> None:
        self.host, self.transport = Host(Limits(**limits)), Transport()
        self.protocol = GrpcProtocol(self.host)
        self.protocol.connection_made(self.transport)
        self.now = asyncio.get_running_loop().time()
        self.protocol.data_received(greeting)
        self.transport.written = b""

    def wait(self, seconds: float) -> None:
        """Let so much time pass, with a sweep each second."""
        for _ in range(round(seconds)):
            self.now += 1
            self.protocol.sweep(self.now)

    def said(self, kind: int) -> list[bytes]:
        said, self.transport.written = self.transport.written, b""
        return [payload for got, _, _, payload in FrameReader().read(said) if got == kind]


async def test_who_is_there_is_let_be() -> None:
    """A connection may be idle for as long as it answers."""
    wire = Wire()
    for _ in range(5):
        wire.wait(QUIET_S + 1)
        assert [bytes(8)] == wire.said(f.PING)
        wire.protocol.data_received(frame(f.PING, f.ACK, 0, bytes(8)))
    wire.wait(QUIET_S - 1)
    assert not wire.transport.was_closed


async def test_who_is_gone_without_a_word_is_forgotten() -> None:
    """A client whose cable was pulled holds no place for ever."""
    wire = Wire()
    wire.wait(QUIET_S + REPLY_S)
    assert not wire.transport.was_aborted
    wire.wait(3)
    assert wire.transport.was_aborted


@pytest.mark.parametrize(
    "greeting", [b"", f.PREFACE[:10], f.PREFACE, GREETING + frame(f.HEADERS, 0, 1, b"\x82")], ids=len
)
async def test_who_does_not_finish_a_head_is_not_waited_for(greeting) -> None:
    """Connections that say nothing, or never come to the end of it, are given up, and counted."""
    wire = Wire(greeting)
    wire.wait(HEAD_S - 1)
    assert not wire.transport.was_closed
    wire.wait(3)
    assert (True, ["head_timeout"]) == (wire.transport.was_closed, wire.host.refused)


async def test_who_reads_nothing_is_given_up() -> None:
    """What was written for a client that takes nothing is not kept for ever."""
    wire = Wire()
    wire.transport.unsent_n = 1000
    wire.wait(WRITE_S - 1)
    wire.transport.unsent_n = 999
    wire.wait(WRITE_S)
    assert not wire.transport.was_aborted
    wire.wait(3)
    assert wire.transport.was_aborted


async def test_who_is_told_why_has_a_moment_to_read_it() -> None:
    """A fault closes the connection in good order, or soon after without it."""
    wire = Wire()
    wire.protocol.data_received(frame(f.PING, 0, 0, b"short"))
    assert (1, ["frame_size_error"]) == (len(wire.said(f.GOAWAY)), wire.host.refused)
    assert (True, False) == (wire.transport.was_closed, wire.transport.was_aborted)
    wire.wait(FAREWELL_S + 2)
    assert wire.transport.was_aborted


async def test_an_old_connection_is_asked_to_leave() -> None:
    """And closes when its client has understood."""
    wire = Wire(connection_s=100.0)
    wire.wait(85)
    assert not wire.said(f.GOAWAY)
    wire.wait(30)
    assert [pack_number(f.WINDOW_MOST) + bytes(4), bytes(8)] == wire.said(f.GOAWAY)
    assert wire.transport.was_closed


async def test_one_that_comes_when_it_is_full_is_told_so(monkeypatch) -> None:
    """In the words of HTTP/2."""
    monkeypatch.setattr(grpc_protocol, "CONNECTIONS_LIMIT", 0)
    wire = Wire()
    assert (True, ["too_many_connections"]) == (wire.transport.was_closed, wire.host.refused)


async def test_one_that_is_gone_is_forgotten() -> None:
    """It counts no more."""
    wire = Wire()
    assert {wire.protocol} == wire.host.connections
    wire.protocol.connection_lost(None)
    assert set() == wire.host.connections
