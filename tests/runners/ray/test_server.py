"""What a replica answers, and to whom: spoken to by hand, one frame after the other."""

import asyncio
import stat
from pathlib import Path

import numpy as np
import pytest

from runners.core.errors import ExecutionFailed, LoadRefused, NotReady, Overloaded
from runners.core.tensor import Tensor
from runners.fake import Answer, Compute, Fail, FakeEndpoint, Hang, Wait
from runners.ray import greeting
from runners.ray.frame import Type, frame
from runners.ray.greeting import Refused
from runners.ray.server import HopServer
from runners.ray.settings import Listen
from runners.ray.tensors import Wire, read_error


async def refusal(raw):
    """What the replica says before it hangs up."""
    said = read_error(await raw.frame())
    assert b"" == await raw.rest()
    return str(said)


async def test_a_request_is_answered_under_its_id(replica, call_up, hand):
    """In whatever order answers come."""
    raw = await call_up(await replica())
    raw.say(hand.req(9) + hand.req(4, [[0, 0, 0, 5]] * 2))
    answers = {}
    for _ in range(2):
        received = await raw.frame_of(Type.RES)
        answers[received.id] = Wire(hand.signature).read_response(received).outputs[0].array.tolist()
    assert {9: [[10.0]], 4: [[5.0], [5.0]]} == answers


async def test_a_wrong_secret_is_refused_at_once(replica, call_up):
    """And told nothing but that."""
    server = await replica()
    raw = await call_up(server, greet=False)
    said = read_error(await raw.greet(b"another of sixteen bytes"))
    assert (NotReady, "the gateway does not know the replica's secret") == (type(said), str(said))
    assert b"" == await raw.rest()
    assert 1 == server.counts.refused_n


async def test_a_proof_is_worth_nothing_on_another_connection(replica, call_up, secret):
    """Whoever listened to one greeting cannot repeat it."""
    server = await replica()
    one, other = await call_up(server, greet=False), await call_up(server, greet=False)
    theirs = greeting.read_hello(await one.frame())
    await other.frame()
    other.say(frame(Type.AUTH, greeting.auth(secret.read_bytes(), theirs, b"g" * 32)))
    assert "the gateway does not know" in await refusal(other)


async def test_a_replica_that_does_not_know_the_secret_is_found_out(replica, call_up):
    """A gateway does not hand its requests to whoever took the port."""
    raw = await call_up(await replica(), greet=False)
    received = await raw.greet()
    with pytest.raises(Refused, match="replica does not know"):
        greeting.read_ok(received, b"of sixteen bytes or more", b"h" * 32, b"g" * 32)


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        bytes(100),
        b"\xff" * 100,
        frame(Type.PING),
        frame(Type.AUTH, b"short"),
        frame(Type.AUTH, bytes(5000)),
    ],
    ids=["http", "zeros", "ones", "ping", "short", "long"],
)
async def test_junk_before_the_greeting_is_refused_at_once(replica, call_up, junk):
    """A port scan finds nothing and holds nothing."""
    server = await replica()
    raw = await call_up(server, greet=False)
    await raw.frame()
    raw.say(junk)
    assert await refusal(raw)
    assert 1 == server.counts.junk_n


async def test_a_silent_stranger_is_cut(replica, call_up):
    """Connections are not for keeping."""
    raw = await call_up(await replica(greeting_s=0.05), greet=False)
    await raw.frame()
    assert "nothing was said in time" == await refusal(raw)


async def test_strangers_are_bounded_and_gateways_still_served(replica, call_up, hand):
    """Whoever opens connections for fun does not lock out those who know the secret already."""
    server = await replica(strangers_n=2)
    known = await call_up(server)
    strangers = [await call_up(server, greet=False) for _ in range(2)]
    for stranger in strangers:
        await stranger.frame()
    one_more = await call_up(server, greet=False)
    assert b"" == await one_more.rest()
    assert 1 == server.counts.strangers_n
    known.say(hand.req(1))
    assert 1 == (await known.frame_of(Type.RES)).id


async def test_another_version_is_told_which(replica, call_up):
    """An upgrade in the wrong order says so."""
    raw = await call_up(await replica(), greet=False)
    await raw.frame()
    raw.say(frame(Type.AUTH, (2).to_bytes(2, "little") + bytes(64)))
    assert "the gateway speaks version 2 of the hop, this side 1" == await refusal(raw)


async def test_the_welcome_says_what_the_model_is(replica, call_up, hand):
    """A gateway needs no file to know a signature."""
    raw = await call_up(await replica(replica="r-7"), greet=False)
    theirs = greeting.read_hello(await raw.frame())
    ours = greeting.nonce()
    raw.say(frame(Type.AUTH, greeting.auth(b"of sixteen bytes or more", theirs, ours)))
    welcome = greeting.read_ok(await raw.frame(), b"of sixteen bytes or more", theirs, ours)
    assert ("r-7", hand.described()) == (welcome.replica, welcome.description)


async def test_secrets_can_be_replaced_while_all_runs(replica, call_up, secret):
    """Both are accepted for a while, and no process restarts."""
    server = await replica()
    secret.write_bytes(b"the new one, long enough\nof sixteen bytes or more\n")
    for key in (b"the new one, long enough", b"of sixteen bytes or more"):
        raw = await call_up(server, greet=False)
        assert Type.OK == (await raw.greet(key)).type


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 5000])
async def test_a_secret_that_is_none_is_refused(tmp_path, secret, content):
    """An empty file is no protection."""
    secret.write_bytes(content)
    with pytest.raises(LoadRefused, match="long enough"):
        greeting.Secret(secret)


async def test_only_this_user_may_connect(replica):
    """A socket file is no open door."""
    server = await replica()
    assert 0o600 == stat.S_IMODE(Path(server.address.unix).stat().st_mode)


async def test_one_address_is_bound_and_no_other(replica):
    """A replica on a private network is not on all the others too."""
    server = await replica(unix="", host="127.0.0.1")
    bound = [sock.getsockname() for listener in server._servers for sock in listener.sockets]
    assert [("127.0.0.1", server.address.port)] == bound


async def test_what_a_dead_replica_left_is_taken_away(replica, tmp_path):
    """A crash does not keep its successor from starting."""
    first = await replica(unix=str(tmp_path / "s.sock"))
    second = await replica(unix=str(tmp_path / "s.sock"))
    assert first.address == second.address
    await first.close()
    assert Path(second.address.unix).exists()
    await second.close()
    assert not Path(second.address.unix).exists()


async def test_an_address_that_cannot_be_had_is_told(secret, hand):
    """With the reason."""
    with pytest.raises(LoadRefused, match="cannot listen"):
        await HopServer(FakeEndpoint(hand.signature, [Hang()]), Listen("r", secret, unix="/nowhere/s")).start()
    with pytest.raises(LoadRefused, match="107 bytes"):
        await HopServer(FakeEndpoint(hand.signature, [Hang()]), Listen("r", secret, unix="/" + "x" * 200)).start()
    with pytest.raises(LoadRefused, match="listens nowhere"):
        await HopServer(FakeEndpoint(hand.signature, [Hang()]), Listen("r", secret)).start()


@pytest.mark.parametrize("error", [Overloaded("full"), NotReady("closed"), ExecutionFailed("it raised")], ids=repr)
async def test_an_error_travels(replica, call_up, hand, error):
    """As what it is."""
    raw = await call_up(await replica(FakeEndpoint(hand.signature, [Fail(error)])))
    raw.say(hand.req(3))
    got = await raw.frame_of(Type.ERR)
    assert (3, type(error), str(error)) == (got.id, type(read_error(got)), str(read_error(got)))


async def test_a_bug_in_the_model_fails_one_call(replica, call_up, hand):
    """The replica goes on."""

    def buggy(request):
        if request.inputs[0].array[0, 0] < 0:
            raise ValueError("negative")
        return hand.sums(request)

    raw = await call_up(await replica(FakeEndpoint(hand.signature, [Compute(buggy)])))
    raw.say(hand.req(1, [[-1, 0, 0, 0]]) + hand.req(2))
    assert "ValueError: negative" == str(read_error(await raw.frame_of(Type.ERR)))
    assert 2 == (await raw.frame_of(Type.RES)).id


async def test_calls_beyond_the_bound_are_refused_untried(replica, call_up, hand):
    """A queue has an end."""
    server = await replica(FakeEndpoint(hand.signature, [Hang()]), calls_n=2)
    raw = await call_up(server)
    raw.say(hand.req(1) + hand.req(2) + hand.req(3))
    got = await raw.frame_of(Type.ERR)
    assert (3, Overloaded) == (got.id, type(read_error(got)))
    assert (2, 1, 3) == (server.open_n, server.counts.overloaded_n, server.counts.calls_n)


async def test_a_deadline_ends_a_call_in_the_replica(replica, call_up, hand):
    """Nothing is worked on for somebody who has stopped waiting."""
    server = await replica(FakeEndpoint(hand.signature, [Hang()]))
    raw = await call_up(server)
    raw.say(hand.req(1, left_ms=20))
    assert "timeout" == read_error(await raw.frame_of(Type.ERR)).code
    assert 0 == server.open_n


async def test_a_cancelled_call_ends_and_says_nothing(replica, call_up, hand):
    """Its room is free for others."""
    server = await replica(FakeEndpoint(hand.signature, [Hang(), Compute(hand.sums)]))
    raw = await call_up(server)
    raw.say(hand.req(1))
    await hand.until(lambda: server.open_n)
    raw.say(frame(Type.CANCEL, id_=1) + frame(Type.CANCEL, id_=77))
    await hand.until(lambda: not server.open_n)
    raw.say(hand.req(2))
    assert 2 == (await raw.frame_of(Type.RES)).id
    assert 1 == server.counts.cancelled_n


async def test_calls_of_a_gateway_that_is_gone_end(replica, call_up, hand):
    """A crash over there frees what it held here."""
    server = await replica(FakeEndpoint(hand.signature, [Hang()]))
    raw = await call_up(server)
    raw.say(hand.req(1) + hand.req(2))
    await hand.until(lambda: server.open_n == 2)
    raw.close()
    await hand.until(lambda: not server.open_n)


@pytest.mark.parametrize("again", ["id", "type"])
async def test_a_gateway_that_breaks_the_protocol_is_cut(replica, call_up, hand, again):
    """Nothing after it can be trusted; others are not touched."""
    server = await replica(FakeEndpoint(hand.signature, [Hang()]))
    raw = await call_up(server)
    raw.say(hand.req(1) + (hand.req(1) if again == "id" else frame(Type.HELLO)))
    got = await raw.frame_of(Type.ERR)
    assert 0 == got.id
    await raw.rest()
    await hand.until(lambda: not server.open_n)


async def test_a_ping_is_answered(replica, call_up):
    """So that silence means something."""
    raw = await call_up(await replica())
    raw.say(frame(Type.PING, id_=5))
    while (await raw.frame_of(Type.PONG)).id != 5:  # others come by themselves
        pass


async def test_signs_of_life_come_by_themselves(replica, call_up):
    """Also while a large request keeps a ping waiting behind it."""
    raw = await call_up(await replica())
    assert 0 == (await raw.frame_of(Type.PONG)).id


async def test_who_drains_answers_what_it_has_and_takes_no_one_new(replica, call_up, hand):
    """Nothing is lost when a replica leaves."""
    go = asyncio.Event()
    server = await replica(FakeEndpoint(hand.signature, [Wait(go, Compute(hand.sums))]))
    raw, path = await call_up(server), server.address.unix
    raw.say(hand.req(1))
    await hand.until(lambda: server.open_n)
    draining = asyncio.create_task(server.drain(60))
    await raw.frame_of(Type.GOAWAY)
    with pytest.raises(OSError):
        await asyncio.open_unix_connection(path)
    go.set()
    assert 1 == (await raw.frame_of(Type.RES)).id
    raw.close()
    assert await draining


async def test_a_drain_does_not_wait_for_ever(replica, call_up):
    """A gateway that stays is left behind."""
    server = await replica()
    await call_up(server)
    assert not await server.drain(0.01)


def of_4_mib(hand):
    large = Tensor("y", "FP32", np.zeros((1 << 20, 1), "<f4")), Tensor("n", "INT64", np.zeros(1 << 20, "<i8"))
    return FakeEndpoint(hand.signature, [Answer(large)])


async def test_a_gateway_that_does_not_read_is_not_listened_to(replica, call_up, hand):
    """Its answers do not fill the replica's memory."""
    server = await replica(of_4_mib(hand))
    raw = await call_up(server)
    (connection,) = server._connections
    raw.say(hand.req(1))
    await hand.until(lambda: not connection._transport.is_reading())
    raw.say(hand.req(2))
    for _ in range(20):
        await asyncio.sleep(0)
    assert 1 == server.counts.calls_n
    assert [1, 2] == [(await raw.frame_of(Type.RES)).id for _ in range(2)]


async def test_a_gateway_that_lets_too_much_gather_is_cut(replica, call_up, hand, monkeypatch):
    """It had time to read."""
    monkeypatch.setattr("runners.ray.connection.UNWRITTEN_BYTES", 1 << 20)
    server = await replica(of_4_mib(hand))
    raw = await call_up(server)
    raw.say(hand.req(1))
    await hand.until(lambda: not server._connections)
    assert 1 == server.counts.slow_n
