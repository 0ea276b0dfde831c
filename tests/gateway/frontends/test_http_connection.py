"""HTTP on real sockets: what a connection may do, and what happens to those that do more."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest

from gateway.frontends import http_connection
from gateway.frontends.http_connection import (
    GOODBYE_S,
    HEAD_BYTES_LIMIT,
    HEAD_S,
    HEADERS_LIMIT,
    KEEP_ALIVE_S,
    WRITE_S,
)

BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'
HEAD = b"POST /v2/models/%b/infer HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"
READY = b"GET /v2/health/ready HTTP/1.1\r\nhost: h\r\n\r\n"


class Wire:
    """A connection on which bytes are written as they stand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))
        await self.writer.drain()

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(re.findall(r"^([^:\r\n]+): (.*)\r$", head, re.MULTILINE))
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(head.split()[1]), headers, body

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


@pytest.fixture
async def connect(servers) -> AsyncIterator:
    wires: list[Wire] = []

    async def connected() -> Wire:
        wires.append(Wire(*await asyncio.open_connection("127.0.0.1", servers.http_port, limit=1 << 24)))
        return wires[-1]

    yield connected
    for wire in wires:
        wire.writer.close()


@pytest.fixture
def connections(servers):
    """The server's side of every open connection."""
    return lambda: list(servers._http.connections)


class Lingering:
    """A transport that is closing and has nothing left to write; `gone` is told when it is cut off."""

    def __init__(self, gone: list[bool]) -> None:
        self._gone = gone

    def is_closing(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._gone.append(True)


async def until(claim) -> None:
    """Let the loop turn until `claim` holds; the test's own timeout is the bound."""
    while not claim():
        await asyncio.sleep(0.001)


async def test_a_stock_client_gets_a_whole_answer(servers, stage) -> None:
    """Everything that goes out in one write is what a client expects of HTTP."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{servers.http_port}") as client:
        replies = [await client.post("/v2/models/ramped/infer", content=BODY) for _ in range(3)]
    assert [200] * 3 == [reply.status_code for reply in replies]
    assert ("application/json", "ramped-1") == (replies[0].headers["content-type"], replies[0].headers["x-turnout-arm"])
    assert replies[0].headers["date"].endswith("GMT")
    assert "server" not in replies[0].headers
    assert [2.0] == replies[0].json()["outputs"][0]["data"]
    assert stage.records[0].arrival.caller == "127.0.0.1"


async def test_both_ways_out_say_the_same(servers, stage) -> None:
    """The short way of sending an answer and the ordinary one differ in nothing that a client sees."""
    direct = await stage.infer("ramped", BODY, {"x-request-id": "r"})
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{servers.http_port}/v2/models/ramped/infer"
        wired = await client.post(url, content=BODY, headers={"x-request-id": "r"})
    seen = {name: value for name, value in wired.headers.raw if name != b"date"}
    assert (direct.headers, direct.body) == (seen, wired.content)


async def test_a_large_answer_arrives_whole(connect) -> None:
    """An answer of many packets is complete, in binary and in the right order."""
    raw = np.arange(200_000, dtype=np.float32).tobytes()
    wire = {"name": "FP32", "shape": [200_000], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [wire], "parameters": {"binary_data_output": True}}).encode()
    lines = b"POST /v2/models/mirror/infer HTTP/1.1\r\nhost: h\r\ninference-header-content-length: %d\r\n"
    connection = await connect()
    await connection.send(lines % len(head), b"content-length: %d\r\n\r\n" % (len(head) + len(raw)), head, raw)
    status, headers, body = await connection.reply()
    assert (200, raw) == (status, body[int(headers["inference-header-content-length"]) :])


async def test_pipelined_requests_are_answered_in_order(connect) -> None:
    """A client may send before it has read; nothing is lost or mixed up."""
    connection = await connect()
    bodies = [BODY[:-1] + b',"id":"%d"}' % n for n in range(5)]
    await connection.send(*[HEAD % (b"plain", len(body)) + body for body in bodies])
    assert [str(n) for n in range(5)] == [json.loads((await connection.reply())[2])["id"] for _ in range(5)]


async def test_a_client_that_reads_late_gets_everything(connect) -> None:
    """Answers wait for a slow reader, one after the other."""
    data = ",".join(["0.125"] * 10_000)
    body = f'{{"inputs":[{{"name":"FP32","shape":[10000],"datatype":"FP32","data":[{data}]}}]}}'.encode()
    connection = await connect()
    sending = asyncio.create_task(connection.send(*[HEAD % (b"mirror", len(body)) + body] * 60))
    lengths = set()
    for _ in range(60):
        status, _, answer = await connection.reply()
        lengths.add((status, len(json.loads(answer)["outputs"][0]["data"])))
    await sending
    assert {(200, 10_000)} == lengths


async def test_a_connection_is_kept_or_closed_as_asked(connect) -> None:
    """A client that wants no second request hears that the connection ends."""
    connection = await connect()
    await connection.send(HEAD.replace(b"host: h", b"connection: close") % (b"plain", len(BODY)), BODY)
    status, headers, _ = await connection.reply()
    assert (200, "close", b"") == (status, headers["connection"], await connection.rest())


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(connect) -> None:
    """`Expect: 100-continue` is answered, and a body that is too large is refused without it."""
    connection, other = await connect(), await connect()
    await connection.send(HEAD.replace(b"host: h", b"expect: 100-continue") % (b"plain", len(BODY)))
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == await connection.reader.readuntil(b"\r\n\r\n")
    await connection.send(BODY)
    await other.send(HEAD.replace(b"host: h", b"expect: 100-continue") % (b"plain", 1 << 40))
    assert (200, 413) == ((await connection.reply())[0], (await other.reply())[0])


async def test_an_upgrade_that_is_not_there_is_ignored(connect) -> None:
    """A client that offers another protocol is served in this one."""
    connection = await connect()
    await connection.send(READY.replace(b"host: h", b"host: h\r\nconnection: upgrade\r\nupgrade: h2c"))
    assert 200 == (await connection.reply())[0]


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v2/models/plain/infer HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /v2/models/plain/infer HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v2/models/plain/infer HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /v2/models/plain/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /v2 HTTP/1.1\r\nx-request-id: a\x00b\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nx-request-id: a\rset-cookie: b\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nx request: a\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_request_gets_one_answer_and_no_second(connect, junk) -> None:
    """Whatever is smuggled behind a broken request is not read as another."""
    connection = await connect()
    await connection.send(junk, READY)
    everything = await connection.rest()
    assert everything.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
    assert 1 == everything.count(b"HTTP/1.1")
    assert {"error": "this is no request of HTTP 1.1"} == json.loads(everything.partition(b"\r\n\r\n")[2])


async def test_too_many_headers_are_refused(connect) -> None:
    """Ten thousand headers are not collected first."""
    connection = await connect()
    await connection.send(b"GET /v2 HTTP/1.1\r\n", b"a: b\r\n" * 10_000, b"\r\n")
    assert (await connection.rest()).startswith(b"HTTP/1.1 431 ")


async def test_as_many_headers_as_are_allowed_pass(connect) -> None:
    """The limit is the last number that is taken."""
    connection = await connect()
    await connection.send(b"GET /v2 HTTP/1.1\r\n", b"a: b\r\n" * HEADERS_LIMIT, b"\r\n")
    assert 200 == (await connection.reply())[0]


ENDLESS = {
    "a header": b"GET /v2 HTTP/1.1\r\nx-a: ",
    "a path": b"GET /",
    "an extension of a chunk": b"POST /v2/models/plain/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;",
    "a trailer": b"POST /v2/models/plain/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-a: ",
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_what_does_not_end_is_cut_off(connect, connections, what) -> None:
    """Bytes that are never part of a body cannot be sent without bound."""
    connection = await connect()
    await connection.send(ENDLESS[what])
    sent_n = 0
    while connections() and sent_n < 100 * HEAD_BYTES_LIMIT:
        try:
            await connection.send(b"x" * 4096)
        except ConnectionError:
            break
        sent_n += 4096
        await asyncio.sleep(0)
    await until(lambda: not connections())
    assert sent_n < 100 * HEAD_BYTES_LIMIT


async def test_a_head_that_does_not_arrive_is_given_up(connect, connections) -> None:
    """A client that sends a byte now and then does not hold a connection for ever."""
    connection = await connect()
    await connection.send(b"GET /v2 HTTP/1.1\r\nx-")
    await until(lambda: connections() and connections()[0]._incoming)
    (held,) = connections()
    held.sweep(asyncio.get_running_loop().time() + HEAD_S / 2)
    is_held_at_first = not held.transport.is_closing()
    held.sweep(asyncio.get_running_loop().time() + HEAD_S + 1)
    assert (True, True) == (is_held_at_first, (await connection.rest()).startswith(b"HTTP/1.1 408 "))


async def test_a_request_under_way_is_not_swept(connect, connections, stage, make_endpoint) -> None:
    """Only the arrival of a head is timed, not what the model takes."""
    endpoint = make_endpoint("hang", "v1")
    stage.route("slow", endpoint)
    connection = await connect()
    await connection.send(HEAD % (b"slow", len(BODY)), BODY)
    await endpoint.began.wait()
    (held,) = connections()
    held.sweep(asyncio.get_running_loop().time() + 10 * HEAD_S)
    assert not held.transport.is_closing()


async def test_a_client_that_reads_nothing_is_given_up(connect, connections) -> None:
    """An answer that nobody takes does not stay in memory."""
    data = ",".join(["0.125"] * 100_000)
    body = f'{{"inputs":[{{"name":"FP32","shape":[100000],"datatype":"FP32","data":[{data}]}}]}}'.encode()
    connection = await connect()
    connection.writer.transport.pause_reading()
    sending = asyncio.create_task(connection.send(*[HEAD % (b"mirror", len(body)) + body] * 100))
    await until(lambda: connections() and connections()[0].transport.get_write_buffer_size() > 0)
    (held,) = connections()
    await until(lambda: held._writable is not None)
    now = asyncio.get_running_loop().time()
    held.sweep(now)
    held.sweep(now + WRITE_S + 1)
    await until(lambda: not connections())
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def test_a_connection_that_was_closed_is_not_waited_for(connect, connections, monkeypatch) -> None:
    """A client of TLS that does not answer our goodbye holds nothing for long."""
    connection = await connect()
    await connection.send(READY)
    await connection.reply()
    (held,) = connections()
    gone: list[bool] = []
    monkeypatch.setattr(held, "transport", Lingering(gone))
    held.sweep(100.0)
    held.sweep(100.0 + GOODBYE_S)
    was_waited_for = not gone
    held.sweep(100.1 + GOODBYE_S)
    monkeypatch.undo()
    assert (True, [True]) == (was_waited_for, gone)


async def test_more_connections_than_allowed_are_turned_away(connect, monkeypatch) -> None:
    """The next one hears why, those that are there stay."""
    monkeypatch.setattr(http_connection, "CONNECTIONS_LIMIT", 1)
    first, second = await connect(), await connect()
    turned_away = await second.rest()
    await first.send(READY)
    assert (200, True) == ((await first.reply())[0], turned_away.startswith(b"HTTP/1.1 503 "))


async def test_a_caller_who_hangs_up_frees_the_model(connect, stage, make_endpoint) -> None:
    """Nobody's work is not done to its end, and the event says cancelled."""
    endpoint = make_endpoint("hang", "v1")
    stage.route("slow", endpoint)
    connection = await connect()
    await connection.send(HEAD % (b"slow", len(BODY)), BODY)
    await endpoint.began.wait()
    connection.writer.transport.abort()
    await until(lambda: stage.records)
    assert (True, "cancelled", 499) == (
        endpoint.was_cancelled,
        stage.records[0].reply.code,
        stage.records[0].reply.http_status,
    )


async def test_a_caller_who_hangs_up_half_way_is_recorded(connect, stage, connections) -> None:
    """A body that never ends leaves a trace, and no connection."""
    connection = await connect()
    await connection.send(HEAD % (b"plain", 1000), BODY)
    await until(lambda: connections() and connections()[0]._running is not None)
    await asyncio.sleep(0)
    connection.writer.transport.abort()
    await until(lambda: stage.records)
    assert "cancelled" == stage.records[0].reply.code


async def test_a_body_above_the_limit_is_not_read_to_its_end(connect, connections) -> None:
    """A chunked body is cut off where the limit is, connection and all."""
    connection = await connect()
    await connection.send(b"POST /v2/models/plain/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    sent_n = 0
    while sent_n < 64 << 20:
        try:
            await connection.send(b"10000\r\n", b"x" * 65536, b"\r\n")
        except ConnectionError:
            break
        sent_n += 65536
    await until(lambda: not connections())
    assert sent_n < 16 << 20


async def test_what_came_before_junk_is_answered_first(connect, stage) -> None:
    """A client that breaks off in the middle of its third request has the answers to the first two."""
    connection = await connect()
    await connection.send(READY, HEAD % (b"plain", len(BODY)), BODY, b"no request\r\n\r\n")
    statuses = [(await connection.reply())[0] for _ in range(3)]
    assert ([200, 200, 400], b"") == (statuses, await connection.rest())


async def test_what_is_refused_below_the_application_is_counted(connect, connections, stage) -> None:
    """Junk on the port shows in the metrics, by what was wrong with it."""
    junk, fat, slow = await connect(), await connect(), await connect()
    await junk.send(b"junk\r\n\r\n")
    await fat.send(b"GET /v2 HTTP/1.1\r\n", b"a: b\r\n" * 1000, b"\r\n")
    await junk.rest()
    await fat.rest()
    await slow.send(b"GET /v2 HTTP/1.1\r\nx-")
    await until(lambda: any(held._incoming for held in connections()))
    for held in connections():
        held.sweep(asyncio.get_running_loop().time() + HEAD_S + 1)
    await slow.rest()
    expected = {("http", "malformed"), ("http", "head_too_large"), ("http", "head_timeout")}
    assert (expected, 3) == (set(stage.recorder.refused), len(stage.recorder.refused))


async def test_an_idle_connection_is_kept_for_a_while(connect, connections) -> None:
    """Proxies reuse connections; one that nobody uses is not held for ever."""
    connection = await connect()
    await connection.send(READY)
    await connection.reply()
    (held,) = connections()
    await until(lambda: held._idle_since != float("inf"))
    now = asyncio.get_running_loop().time()
    held.sweep(now + KEEP_ALIVE_S - 1)
    is_kept = not held.transport.is_closing()
    held.sweep(now + KEEP_ALIVE_S + 1)
    assert (True, b"") == (is_kept, await connection.rest())


async def test_a_second_head_is_timed_like_the_first(connect, connections) -> None:
    """Whoever sends half of a request behind a whole one is given up, too."""
    connection = await connect()
    await connection.send(READY, b"GET /v2 HTTP/1.1\r\nx-")
    await connection.reply()
    (held,) = connections()
    await until(lambda: held._head_since != float("inf"))
    held.sweep(asyncio.get_running_loop().time() + HEAD_S + 1)
    assert (await connection.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_question_about_the_head_has_no_body(connect) -> None:
    """HEAD says how long the answer would be, and the next request is not confused by it."""
    connection = await connect()
    await connection.send(READY.replace(b"GET", b"HEAD"), READY)
    head = await connection.reader.readuntil(b"\r\n\r\n")
    assert (True, b"HTTP/1.1 200 OK") == (b"content-length: 14" in head, (await connection.reader.readline()).strip())


async def test_an_old_client_is_answered_and_let_go(connect) -> None:
    """HTTP/1.0 knows no second request on a connection."""
    connection = await connect()
    await connection.send(READY.replace(b"HTTP/1.1", b"HTTP/1.0"), READY)
    everything = await connection.rest()
    assert (1, True) == (everything.count(b"HTTP/1.1 200"), b"connection: close" in everything)


async def test_whoever_sends_far_ahead_is_not_read_far_ahead(connect, connections, stage, make_endpoint) -> None:
    """A thousand requests behind one that hangs wait in the client, not in the gateway's memory."""
    endpoint = make_endpoint("hang", "v1")
    stage.route("slow", endpoint)
    connection = await connect()
    await connection.send(HEAD % (b"slow", len(BODY)), BODY)
    await endpoint.began.wait()
    sending = asyncio.create_task(connection.send(*[READY] * 200_000))
    (held,) = connections()
    await until(lambda: held._is_paused)
    waiting_n = len(held._waiting)
    for _ in range(50):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert (True, waiting_n) == (waiting_n < 20_000, len(held._waiting))


async def test_the_query_is_no_part_of_the_path(connect) -> None:
    """A path may be escaped, and what stands behind a question mark is not looked at."""
    connection = await connect()
    await connection.send(READY.replace(b"/v2/health/ready", b"/v2/health/re%61dy?probe=1"))
    assert 200 == (await connection.reply())[0]
