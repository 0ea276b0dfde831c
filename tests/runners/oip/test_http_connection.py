"""The HTTP client: whole answers or a cause, and never somebody else's answer."""

import asyncio
from contextlib import suppress
from time import monotonic

import pytest

from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidOutput
from runners.oip.address import Address
from runners.oip.client import Unreachable
from runners.oip.http_connection import HttpPool

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ASK = [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"]


@pytest.fixture
async def pool_of():
    made = []

    def pool(port, limit_bytes=1000):
        made.append(HttpPool(Address("127.0.0.1", port, is_grpc=False, is_secure=False), None, limit_bytes))
        return made[-1]

    yield pool
    for each in made:
        await each.close()


def later(seconds=10.0):
    return monotonic() + seconds


async def test_a_connection_is_kept(script_server, pool_of):
    """A call does not pay for a handshake."""
    server = await script_server(lambda _: OK)
    pool = pool_of(server.port)
    answers = [(await pool.ask(ASK, later())).body for _ in range(5)]
    assert ([b"ok"] * 5, 1) == (answers, server.connections_n)


async def test_calls_at_once_have_connections_of_their_own(script_server, pool_of):
    """Nobody waits behind somebody else's request."""
    server = await script_server(lambda _: OK)
    pool = pool_of(server.port)
    await asyncio.gather(*(pool.ask(ASK, later()) for _ in range(4)))
    assert 4 == server.connections_n


@pytest.mark.parametrize(
    ("told", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nz", b"z"),
    ],
    ids=["chunked", "interim", "empty", "old"],
)
async def test_every_form_of_body_is_read(script_server, pool_of, told, body):
    server = await script_server(lambda _: told)
    assert body == (await pool_of(server.port).ask(ASK, later())).body


async def test_a_body_may_end_with_the_connection(script_server, pool_of):
    server = await script_server(lambda _: b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it")
    server.closes_after_answer = True
    assert b"all of it" == (await pool_of(server.port).ask(ASK, later())).body


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (b"SSH-2.0-OpenSSH\r\n", ExecutionFailed),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, ExecutionFailed),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001, InvalidOutput),
        (None, Unreachable),
    ],
    ids=["not HTTP", "endless head", "large", "hangs up"],
)
async def test_an_answer_that_is_none_has_a_cause(script_server, pool_of, told, cause):
    server = await script_server(lambda _: told)
    with pytest.raises(cause):
        await pool_of(server.port).ask(ASK, later())


async def test_an_answer_cut_short_is_not_taken_for_a_whole_one(script_server, pool_of):
    """Half a tensor is no tensor."""
    server = await script_server(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    server.closes_after_answer = True
    with pytest.raises(Unreachable):
        await pool_of(server.port).ask(ASK, later())


async def test_a_server_that_says_nothing_is_left_at_the_deadline(script_server, pool_of):
    """And learns that nobody waits for it."""
    server = await script_server(lambda _: b"")
    with pytest.raises(DeadlineExceeded):
        await pool_of(server.port).ask(ASK, later(0.05))
    async with asyncio.timeout(10):
        await server.gone.wait()


async def test_a_caller_who_leaves_takes_the_connection_along(script_server, pool_of):
    """The server can stop working for nobody."""
    server = await script_server(lambda _: b"")
    call = asyncio.create_task(pool_of(server.port).ask(ASK, later()))
    async with asyncio.timeout(10):
        while not server.asked:
            await asyncio.sleep(0.001)
        call.cancel()
        await server.gone.wait()
    assert call.cancelled()


async def test_a_connection_closed_while_it_rested_is_replaced(script_server, pool_of):
    """A server that lets go of idle connections costs nobody an answer."""
    server = await script_server(lambda _: OK)
    pool = pool_of(server.port)
    await pool.ask(ASK, later())
    server.answer = lambda asked: None if len(server.asked) == 2 else OK
    assert b"ok" == (await pool.ask(ASK, later())).body
    assert (3, 2) == (len(server.asked), server.connections_n)


async def test_a_new_connection_is_not_tried_twice(script_server, pool_of):
    """A request that kills its server is not sent to the next one."""
    server = await script_server(lambda _: None)
    with pytest.raises(Unreachable):
        await pool_of(server.port).ask(ASK, later())
    assert 1 == len(server.asked)


@pytest.mark.parametrize("extra", [OK, b"HTTP/1.1", b"x"], ids=["whole", "begun", "other"])
async def test_a_second_answer_belongs_to_nobody(script_server, pool_of, extra):
    """What one caller did not ask for is never told to the next."""
    server = await script_server(lambda _: OK + extra)
    pool = pool_of(server.port)
    with suppress(ExecutionFailed):
        await pool.ask(ASK, later())
    server.answer = lambda _: OK.replace(b"ok", b"my")
    assert b"my" == (await pool.ask(ASK, later())).body
    assert 2 == server.connections_n


async def test_nobody_there_is_unreachable(script_server, pool_of):
    server = await script_server(lambda _: OK)
    await server.stop()
    with pytest.raises(Unreachable):
        await pool_of(server.port).ask(ASK, later())


async def test_closing_ends_the_calls_under_way(script_server, pool_of):
    server = await script_server(lambda _: b"")
    pool = pool_of(server.port)
    call = asyncio.create_task(pool.ask(ASK, later()))
    async with asyncio.timeout(10):
        while not server.asked:
            await asyncio.sleep(0.001)
        await pool.close()
        with pytest.raises(Unreachable):
            await call
