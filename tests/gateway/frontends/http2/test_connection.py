"""Whole conversations: with h2 as the client, and by hand where a client must misbehave."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.frontends.http2 import frames as f
from gateway.frontends.http2.allowance import ODDITIES, RESETS
from gateway.frontends.http2.connection import GOODBYE
from gateway.frontends.http2.frames import Code, FrameReader, frame, pack_number
from gateway.frontends.http2.headers import field
from gateway.frontends.http2.inbound import STREAM_WINDOW
from gateway.frontends.http2.outbound import STALL_S
from gateway.frontends.http2.settings import STREAMS_LIMIT

PER_EXAMPLE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BLOCK = b"".join(
    field(name, value) for name, value in ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"))
)
GREETING = f.PREFACE + frame(f.SETTINGS, 0, 0)


def begin(stream_id: int, *, is_last: bool = False, block: bytes = BLOCK) -> bytes:
    return frame(f.HEADERS, f.END_HEADERS | (f.END_STREAM if is_last else 0), stream_id, block)


def data(stream_id: int, payload: bytes, *, is_last: bool = False) -> bytes:
    return frame(f.DATA, f.END_STREAM if is_last else 0, stream_id, payload)


def widen(stream_id: int, n: int) -> bytes:
    return frame(f.WINDOW_UPDATE, 0, stream_id, pack_number(n))


def said(server) -> list[tuple[int, int, int, bytes]]:
    return list(FrameReader().read(server.connection.take()))


def kinds(server, kind: int) -> list[tuple[int, bytes]]:
    """Stream and payload of each frame of a kind that the server says."""
    return [(stream_id, payload) for got, _, stream_id, payload in said(server) if got == kind]


def goodbye(server) -> Code:
    *_, (_, payload) = kinds(server, f.GOAWAY)
    return Code(f.unpack_number(payload, 4)[0])


@PER_EXAMPLE
@given(
    bodies=st.lists(st.binary(max_size=400), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 2000), unique=True, max_size=30),
)
def test_every_request_gets_its_own_answer_however_it_is_cut(make_server, make_client, bodies, cuts) -> None:
    """h2 sees what it sent come back on the right stream, and nothing else."""

    def cut(whole: bytes) -> list[bytes]:
        edges = [0, *sorted(each for each in cuts if each < len(whole)), len(whole)]
        return [whole[start:end] for start, end in pairwise(edges)]

    client = make_client(make_server())
    sent = {client.begin(body): body for body in bodies}
    client.talk(cut)
    assert (sent, set(sent)) == (client.bodies, set(client.ended))


@PER_EXAMPLE
@given(data=st.data())
def test_streams_may_be_interleaved_in_any_way(make_server, make_client, data) -> None:
    """Who speaks when does not matter."""
    client = make_client(make_server())
    streams = [client.begin(None) for _ in range(4)]
    sent = dict.fromkeys(streams, b"")
    for stream_id in data.draw(st.lists(st.sampled_from(streams), max_size=30)):
        piece = data.draw(st.binary(min_size=1, max_size=100))
        sent[stream_id] += piece
        client.send(stream_id, piece)
        if data.draw(st.booleans()):
            client.talk()
    for stream_id in data.draw(st.permutations(streams)):
        client.h2.end_stream(stream_id)
    client.talk()
    assert sent == client.bodies


@PER_EXAMPLE
@given(
    sizes=st.lists(st.integers(0, 200_000), min_size=1, max_size=4),
    window=st.integers(0, 100_000),
    steps=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 70_000)), max_size=30),
)
def test_no_more_goes_out_than_was_granted(make_server, sizes, window, steps) -> None:
    """A client's memory is its own to give, for each stream and for the connection."""
    server = make_server()
    first = frame(f.SETTINGS, 0, 0, f.pack_setting(f.INITIAL_WINDOW, window))
    server.connection.receive(f.PREFACE + first + b"".join(begin(2 * n + 1) for n in range(len(sizes))))
    for stream, size in zip(list(server.streams.values()), sizes, strict=True):
        server.answer(stream, bytes(size))
    granted = {0: f.WINDOW_BYTES} | {2 * n + 1: window for n in range(len(sizes))}
    sent = dict.fromkeys(granted, 0)
    for place, n in [(0, 0), *steps]:
        stream_id = 2 * place - 1 if 0 < place <= len(sizes) else 0
        if n:
            granted[stream_id] += n
            server.connection.receive(widen(stream_id, n))
        for got, payload in kinds(server, f.DATA):
            sent[got] += len(payload)
            sent[0] += len(payload)
        assert all(sent[each] <= granted[each] for each in granted)
    server.connection.receive(
        b"".join(widen(each, 1 << 20) for each in granted if each == 0 or sizes[each // 2] > sent[each])
    )
    while pieces := kinds(server, f.DATA):
        for got, payload in pieces:
            sent[got] += len(payload)
        server.connection.out.pump()
    assert sizes == [sent[2 * n + 1] for n in range(len(sizes))]


def test_a_large_answer_flows_as_the_client_takes_it(server, client) -> None:
    """An answer many times the window arrives whole, and the server holds no more of it ready than a batch."""
    stream_id = client.begin(None)
    client.talk()
    body = bytes(range(256)) * 40_000
    server.answer(server.streams[stream_id], body)
    while stream_id not in client.ended:
        before = len(client.bodies[stream_id])
        client.talk()
        client.widen()
        assert before < len(client.bodies[stream_id]) or stream_id in client.ended
    assert body == client.bodies[stream_id]


def test_small_answers_pass_a_large_one(server, client) -> None:
    """Nobody waits for somebody else's tensor."""
    large, small = client.begin(None), client.begin(b"x")
    client.talk()
    client.widen()
    server.answer(server.streams[large], bytes(1 << 20))
    client.talk()
    later = client.begin(b"y")
    client.widen()
    client.talk()
    assert {small, later} <= set(client.ended)
    assert large not in client.ended


def test_a_large_request_is_granted_what_it_lacks(make_server) -> None:
    """A message larger than a stream's window is let in whole, once."""
    server = make_server(takes=False)
    server.connection.receive(GREETING + begin(1))
    server.connection.take()
    server.connection.expect(server.streams[1], 500_000)
    assert [(1, pack_number(500_000 - STREAM_WINDOW))] == kinds(server, f.WINDOW_UPDATE)


def test_large_requests_wait_for_room_and_get_it_in_turn(make_server) -> None:
    """However many large messages come at once, no more are held than there is room, and none is forgotten."""
    server = make_server(takes=False)
    server.connection.receive(GREETING + b"".join(begin(n) for n in (1, 3, 5, 7)))
    server.connection.take()
    for stream in server.streams.values():
        server.connection.expect(stream, 600_000)
    assert [1, 3] == [stream_id for stream_id, _ in kinds(server, f.WINDOW_UPDATE)]
    server.connection.receive(frame(f.RST_STREAM, 0, 5, pack_number(Code.CANCEL)))
    server.answer(server.streams[1], b"")
    assert [7] == [stream_id for stream_id, _ in kinds(server, f.WINDOW_UPDATE)]


def test_more_than_was_granted_resets_the_stream(make_server) -> None:
    """A client that ignores a window loses its call, not its connection."""
    server = make_server(takes=False)
    pieces = STREAM_WINDOW // f.FRAME_BYTES
    server.connection.receive(GREETING + begin(1) + data(1, bytes(f.FRAME_BYTES)) * pieces)
    assert not kinds(server, f.RST_STREAM)
    server.connection.receive(data(1, b"x"))
    assert [(1, pack_number(Code.FLOW_CONTROL_ERROR))] == kinds(server, f.RST_STREAM)
    assert ("gone", 1) in server.told


def test_padding_is_given_back(greeted) -> None:
    """Padding never uses a window up."""
    padded = frame(f.DATA, f.PADDED, 1, b"\xff" + b"a" + bytes(255))
    greeted.takes = False
    greeted.connection.receive(begin(1) + padded)
    assert (1, pack_number(256)) in kinds(greeted, f.WINDOW_UPDATE)


def test_a_slow_socket_holds_answers_back(greeted) -> None:
    """What a client does not read stays where it can be counted."""
    greeted.connection.out.is_held = True
    greeted.connection.receive(begin(1) + data(1, b"abc", is_last=True))
    assert not kinds(greeted, f.DATA)
    greeted.connection.out.is_held = False
    greeted.connection.out.pump()
    assert [(1, b"abc")] == kinds(greeted, f.DATA)


def test_a_call_is_given_up_when_the_client_says_so(greeted) -> None:
    """A reset is told, and nothing more goes out on the stream."""
    greeted.answers = False
    greeted.connection.receive(begin(1, is_last=True) + frame(f.RST_STREAM, 0, 1, pack_number(Code.CANCEL)))
    assert [("began", 1), ("heard", 1), ("gone", 1)] == greeted.told
    assert (True, 0) == (greeted.streams[1].has_ended, greeted.connection.streams_n)


def test_an_early_answer_asks_for_no_more(greeted) -> None:
    """A request that is answered before its end is cut short without a fault."""
    greeted.connection.receive(begin(1))
    greeted.answer(greeted.streams[1], b"no")
    assert [(1, pack_number(Code.NO_ERROR))] == kinds(greeted, f.RST_STREAM)
    greeted.connection.receive(data(1, b"late", is_last=True))
    assert greeted.connection.fault is None


def test_more_streams_than_announced_are_refused(greeted) -> None:
    """The refused may come again: nothing was done for them."""
    greeted.answers = False
    greeted.connection.receive(b"".join(begin(2 * n + 1) for n in range(STREAMS_LIMIT + 1)))
    assert [(2 * STREAMS_LIMIT + 1, pack_number(Code.REFUSED_STREAM))] == kinds(greeted, f.RST_STREAM)
    assert greeted.connection.fault is None


def test_trailers_end_a_request(greeted) -> None:
    """As clients in other languages send them."""
    greeted.connection.receive(begin(1) + data(1, b"a") + begin(1, is_last=True, block=field(b"x", b"y")))
    assert [(1, b"a")] == kinds(greeted, f.DATA)


@pytest.mark.parametrize(
    ("noise", "code"),
    [
        (data(1, b"x"), Code.PROTOCOL_ERROR),
        (begin(2), Code.PROTOCOL_ERROR),
        (frame(f.CONTINUATION, 0, 1, b""), Code.PROTOCOL_ERROR),
        (frame(f.HEADERS, 0, 1, BLOCK) + frame(f.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(f.HEADERS, 0, 1, BLOCK) + frame(f.CONTINUATION, 0, 3, b""), Code.PROTOCOL_ERROR),
        (begin(1, block=b"\xff" * 20), Code.COMPRESSION_ERROR),
        (frame(f.PUSH_PROMISE, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(f.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
        (frame(f.SETTINGS, 0, 0, b"abc"), Code.FRAME_SIZE_ERROR),
        (frame(f.SETTINGS, 0, 0, f.pack_setting(f.ENABLE_PUSH, 2)), Code.PROTOCOL_ERROR),
        (frame(f.SETTINGS, 0, 0, f.pack_setting(f.INITIAL_WINDOW, 2**31)), Code.FLOW_CONTROL_ERROR),
        (frame(f.SETTINGS, 0, 0, f.pack_setting(f.FRAME_LIMIT, 100)), Code.PROTOCOL_ERROR),
        (frame(f.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(f.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
        (frame(f.RST_STREAM, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(f.RST_STREAM, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
        (begin(1) + frame(f.RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
        (widen(0, 0), Code.PROTOCOL_ERROR),
        (widen(0, f.WINDOW_MOST), Code.FLOW_CONTROL_ERROR),
        (widen(5, 1), Code.PROTOCOL_ERROR),
        (frame(f.WINDOW_UPDATE, 0, 0, b""), Code.FRAME_SIZE_ERROR),
        (frame(f.PING, 0, 0, bytes(8)) * (ODDITIES + 1), Code.ENHANCE_YOUR_CALM),
        (frame(f.SETTINGS, 0, 0) * (ODDITIES + 1), Code.ENHANCE_YOUR_CALM),
        (frame(f.PRIORITY, 0, 1, bytes(5)) * (ODDITIES + 1), Code.ENHANCE_YOUR_CALM),
        (begin(1) + data(1, b"") * (ODDITIES + 1), Code.ENHANCE_YOUR_CALM),
        (frame(f.HEADERS, 0, 1, b"") + frame(f.CONTINUATION, 0, 1) * 100, Code.ENHANCE_YOUR_CALM),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection_with_its_code(greeted, noise, code) -> None:
    """A peer that cannot be trusted is told why, and all it asked for is let go."""
    greeted.answers = False
    greeted.connection.receive(noise)
    assert (code, 0) == (goodbye(greeted), greeted.connection.streams_n)


@pytest.mark.parametrize(
    ("noise", "code"),
    [
        (begin(1) + widen(1, 0), Code.PROTOCOL_ERROR),
        (begin(1) + widen(1, f.WINDOW_MOST), Code.FLOW_CONTROL_ERROR),
        (begin(1, is_last=True) + data(1, b"x"), Code.STREAM_CLOSED),
        (begin(1) + begin(1), Code.PROTOCOL_ERROR),
        (begin(1, block=BLOCK + field(b"bad", b"1")), Code.PROTOCOL_ERROR),
    ],
)
def test_what_breaks_one_stream_leaves_the_others(greeted, noise, code) -> None:
    """One bad request does not cost the good ones beside it."""
    greeted.answers = False
    greeted.connection.receive(noise)
    assert [(1, pack_number(code))] == kinds(greeted, f.RST_STREAM)
    greeted.answers = True
    greeted.connection.receive(begin(3) + data(3, b"good", is_last=True))
    assert [(3, b"good")] == kinds(greeted, f.DATA)


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"P", f.PREFACE + frame(f.PING, 0, 0, bytes(8)), bytes(50)]
)
def test_who_does_not_greet_is_not_heard(server, noise) -> None:
    """A port scanner or a browser gets a word and no more; one that has only begun to greet is waited for."""
    server.connection.receive(noise)
    assert (noise == b"P") == (server.connection.fault is None)
    assert server.connection.is_mute


def test_resets_without_end_are_a_flood(greeted) -> None:
    """Begin, give up, begin again: nobody keeps the server busy that way for long (CVE-2023-44487)."""
    greeted.answers = False
    give_up = pack_number(Code.CANCEL)
    for n in range(RESETS + 1):
        greeted.connection.receive(begin(2 * n + 1, is_last=True) + frame(f.RST_STREAM, 0, 2 * n + 1, give_up))
    assert Code.ENHANCE_YOUR_CALM == goodbye(greeted)


def test_faults_that_make_us_reset_count_as_resets(greeted) -> None:
    """The same flood by way of our own resets (CVE-2025-8671)."""
    greeted.answers = False
    for n in range(RESETS + 1):
        greeted.connection.receive(begin(2 * n + 1, is_last=True) + widen(2 * n + 1, 0))
    assert Code.ENHANCE_YOUR_CALM == goodbye(greeted)


def test_time_forgives(greeted) -> None:
    """A client that gives up now and then may do so for ever."""
    greeted.answers = False
    for n in range(2 * RESETS):
        greeted.connection.receive(begin(2 * n + 1) + frame(f.RST_STREAM, 0, 2 * n + 1, pack_number(Code.CANCEL)))
        greeted.connection.sweep(n / 10, 0.1)
    assert greeted.connection.fault is None


def test_a_client_that_lets_nothing_out_loses_its_call(greeted) -> None:
    """A window that stays shut keeps an answer in memory for a minute, not for ever."""
    greeted.connection.receive(frame(f.SETTINGS, 0, 0, f.pack_setting(f.INITIAL_WINDOW, 2)) + begin(1))
    greeted.connection.receive(data(1, b"abcd", is_last=True))
    for now in (1.0, STALL_S, STALL_S + 0.5):
        greeted.connection.sweep(now, 1.0)
    greeted.connection.receive(widen(1, 1))
    greeted.connection.sweep(STALL_S + 2, 1.0)
    assert not kinds(greeted, f.RST_STREAM)
    greeted.connection.sweep(2 * STALL_S + 3, 1.0)
    assert [(1, pack_number(Code.CANCEL))] == kinds(greeted, f.RST_STREAM)


def test_a_goodbye_loses_no_call(greeted) -> None:
    """A client that is asked to leave still gets what it asked for, and is told which call was the last."""
    greeted.connection.receive(begin(1))
    greeted.connection.leave()
    first = [payload[:4] for _, payload in kinds(greeted, f.GOAWAY)]
    greeted.connection.receive(frame(f.PING, f.ACK, 0, GOODBYE))
    second = [payload[:4] for _, payload in kinds(greeted, f.GOAWAY)]
    greeted.connection.receive(data(1, b"abc", is_last=True))
    assert ([pack_number(f.WINDOW_MOST)], [pack_number(1)]) == (first, second)
    assert [(1, b"abc")] == kinds(greeted, f.DATA)


def test_a_client_that_does_not_answer_is_told_goodbye_all_the_same(greeted) -> None:
    """Nobody keeps a connection open by silence."""
    greeted.connection.leave()
    greeted.connection.sweep(1.0, 1.0)
    assert greeted.connection.has_left


def test_a_call_that_crosses_the_goodbye_is_taken(greeted) -> None:
    """Until the client has answered our ping, it cannot know; after that, it must not."""
    greeted.connection.leave()
    greeted.connection.receive(begin(1) + data(1, b"crossed", is_last=True))
    assert [(1, b"crossed")] == kinds(greeted, f.DATA)
    greeted.connection.receive(frame(f.PING, f.ACK, 0, GOODBYE) + begin(3, is_last=True))
    assert [(3, pack_number(Code.REFUSED_STREAM))] == kinds(greeted, f.RST_STREAM)


def test_pings_are_answered(greeted) -> None:
    """Whoever asks whether we are there hears so."""
    greeted.connection.receive(frame(f.PING, 0, 0, b"abcdefgh"))
    assert [(0, b"abcdefgh")] == kinds(greeted, f.PING)


@settings(PER_EXAMPLE, max_examples=300)
@given(data=st.data())
def test_no_frames_break_more_than_their_connection(make_server, data) -> None:
    """Whatever comes, the answer is frames that h2 could read, and a fault lets everything go."""
    server = make_server(answers=data.draw(st.booleans()))
    seed = (
        GREETING
        + begin(1)
        + globals()["data"](1, b"abc", is_last=True)
        + begin(3)
        + widen(3, 5)
        + begin(5, is_last=True)
    )
    noise = bytearray(seed + frame(f.RST_STREAM, 0, 3, bytes(4)) + frame(f.PING, 0, 0, bytes(8)))
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, len(noise)))
        match data.draw(st.sampled_from(["flip", "cut", "frame"])):
            case "flip" if place < len(noise):
                noise[place] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del noise[place : place + data.draw(st.integers(1, 12))]
            case "frame":
                kind, flags = data.draw(st.integers(0, 11)), data.draw(st.integers(0, 63))
                noise[place:place] = frame(kind, flags, data.draw(st.integers(0, 9)), data.draw(st.binary(max_size=20)))
    fault = server.connection.receive(bytes(noise))
    assert all(kind <= f.CONTINUATION for kind, *_ in said(server))
    server.connection.lose()
    gone = {stream_id for what, stream_id in server.told if what == "gone"}
    assert all(stream.has_ended for stream in server.streams.values())
    assert fault is None or gone <= set(server.streams)
