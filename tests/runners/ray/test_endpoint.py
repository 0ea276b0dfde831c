"""What the gateway's side of the hop promises its callers, whatever becomes of replicas and of the list of them."""

import asyncio

import numpy as np
import pytest
from msgspec.structs import replace

from runners.core.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InvalidInput,
    LoadRefused,
    NotReady,
    Overloaded,
)
from runners.core.runner import Description
from runners.core.tensor import InferenceRequest, Signature, Tensor, TensorSpec
from runners.fake import Compute, Fail, FakeEndpoint, Hang, Wait
from runners.ray.ejection import SEEN_N
from runners.ray.endpoint import HopEndpoint
from runners.ray.link import ReplicaLost
from runners.ray.members import Address, Member, Membership, State
from runners.ray.settings import Dial, Pace, client_context, server_context
from tests.runners.ray.conftest import SIGNATURE


def asked(endpoint, soon, hand, x=((1, 2, 3, 4),)):
    return asyncio.create_task(endpoint.infer(hand.ask_for(x), deadline_at=soon(60)))


async def test_a_replica_answers(replica, hop, hand, soon):
    """The model may be anywhere."""
    endpoint = await hop(await replica())
    answer = await endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon())
    assert [("y", [[10.0]]), ("n", [7])] == [(t.name, t.array.tolist()) for t in answer.outputs]
    assert hand.described() == endpoint.description


async def test_many_callers_get_their_own_answers(replica, hop, hand, soon):
    """Nobody gets somebody else's."""
    endpoint = await hop(await replica(), await replica())
    calls = [endpoint.infer(hand.ask_for(np.full((n % 7, 4), n), ("y",)), deadline_at=soon()) for n in range(300)]
    answers = await asyncio.gather(*calls)
    assert [[[4.0 * n]] * (n % 7) for n in range(300)] == [answer.outputs[0].array.tolist() for answer in answers]


async def test_sixty_mebibytes_go_there_and_back(replica, hop, hand, soon):
    """And a small request beside them has a connection of its own."""
    spec = TensorSpec("x", "FP32", (-1,)), TensorSpec("s", "BYTES", (-1,))
    signature = Signature(spec, spec)
    server = await replica(FakeEndpoint(signature, [Compute(lambda request: request.inputs)]))
    endpoint = await hop(server)
    x, s = np.arange(15 << 20, dtype="<f4"), np.array([b"\xff", b"two"], dtype=object)
    request = InferenceRequest("m", (Tensor("x", "FP32", x), Tensor("s", "BYTES", s)))
    small = InferenceRequest("m", (Tensor("x", "FP32", x[:2]), Tensor("s", "BYTES", s)))
    answers = await asyncio.gather(*[endpoint.infer(each, deadline_at=soon(60)) for each in (request, small)])
    assert [t.array.tolist()[:9] for t in small.inputs] == [t.array.tolist() for t in answers[1].outputs]
    assert np.array_equal(x, answers[0].outputs[0].array)
    assert s.tolist() == answers[0].outputs[1].array.tolist()
    assert 2 == len(server._connections)


async def test_what_does_not_fit_is_refused_without_asking(replica, hop, hand, soon):
    """A caller's mistake costs no hop."""
    server = await replica()
    endpoint = await hop(server)
    with pytest.raises(InvalidInput):
        await endpoint.infer(hand.ask_for([[1, 2]]), deadline_at=soon())
    assert 0 == server.counts.calls_n


@pytest.mark.parametrize("error", [Overloaded("full"), ExecutionFailed("it raised"), NotReady("stuck")], ids=repr)
async def test_an_error_comes_through_and_is_not_asked_again(replica, hop, hand, soon, error):
    """What the model said holds; only a lost connection is worth a second try."""
    servers = [await replica(FakeEndpoint(hand.signature, [Fail(error)])) for _ in range(2)]
    endpoint = await hop(*servers)
    with pytest.raises(type(error), match=str(error)):
        await endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon())
    assert 1 == sum(server.counts.calls_n for server in servers)


async def test_a_deadline_is_kept_whatever_the_replica_does(replica, hop, hand, soon):
    """And the replica is told that nobody waits any more."""
    server = await replica(FakeEndpoint(hand.signature, [Hang()]))
    endpoint = await hop(server)
    waiting = [endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon(s)) for s in (0.02, 0.05, 0.03)]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [DeadlineExceeded] * 3 == [type(outcome) for outcome in outcomes]
    await hand.until(lambda: not server.open_n)


async def test_a_caller_who_leaves_frees_the_replica(replica, hop, hand, soon):
    """Nothing is computed for nobody."""
    server = await replica(FakeEndpoint(hand.signature, [Hang()]))
    endpoint = await hop(server)
    call = asked(endpoint, soon, hand)
    await hand.until(lambda: server.open_n)
    call.cancel()
    await hand.until(lambda: server.counts.cancelled_n)
    assert 0 == server.open_n


async def test_a_request_lost_with_its_replica_is_answered_by_another(replica, hop, hand, soon):
    """The client does not notice."""
    doomed = await replica(FakeEndpoint(hand.signature, [Hang()]))
    endpoint = await hop(doomed)
    call = asked(endpoint, soon, hand)
    await hand.until(lambda: doomed.open_n)
    endpoint.update(Membership(2, (hand.member(doomed), hand.member(await replica()))))
    await hand.until(lambda: len(endpoint._live) == 2)
    await doomed.close()
    assert [[10.0]] == (await call).outputs[0].array.tolist()
    assert (1, 1, 0) == (endpoint.counts.sent_n, endpoint.counts.retried_n, endpoint.counts.lost_n)


async def test_a_request_that_loses_two_replicas_fails(replica, hop, hand, soon):
    """What killed two would kill a third."""
    doomed = [await replica(FakeEndpoint(hand.signature, [Hang()])) for _ in range(3)]
    endpoint = await hop(*doomed)
    await hand.until(lambda: len(endpoint._live) == 3)
    call = asked(endpoint, soon, hand)
    for _ in range(2):
        await hand.until(lambda: any(server.open_n for server in doomed))
        server = next(server for server in doomed if server.open_n)
        await server.close()
        await hand.until(lambda server=server: not server.open_n)
    with pytest.raises(ReplicaLost):
        await call
    assert (1, 1) == (endpoint.counts.retried_n, endpoint.counts.lost_n)


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_lost_request_fails_where_nobody_else_may_be_asked(replica, hop, hand, soon, repeatable):
    """At once, in a way that a fallback can cure."""
    doomed = await replica(FakeEndpoint(hand.signature, [Hang()]))
    others = [] if repeatable else [await replica(FakeEndpoint(hand.signature, [Hang()]))]
    endpoint = await hop(doomed, *others, repeatable=repeatable)
    calls = [asked(endpoint, soon, hand) for _ in range(6)]
    await hand.until(lambda: doomed.open_n + sum(other.open_n for other in others) == 6)
    doomed_n = doomed.open_n
    await doomed.close()
    await hand.until(lambda: sum(call.done() for call in calls) == doomed_n)
    assert {ReplicaLost} == {type(call.exception()) for call in calls if call.done()}
    assert (0, doomed_n) == (endpoint.counts.retried_n, endpoint.counts.lost_n)
    assert ReplicaLost.fallback_helps
    for call in calls:
        call.cancel()


async def test_an_empty_list_is_advice(replica, hop, hand, soon):
    """Whoever has just begun to look sees nobody; those who answer go on."""
    endpoint = await hop(await replica())
    endpoint.update(Membership(2, ()))
    assert (await asked(endpoint, soon, hand)).outputs


async def test_an_older_list_is_ignored(replica, hop, hand):
    """Messages may come late."""
    endpoint = await hop(await replica())
    late = await replica()
    endpoint.update(Membership(1, (hand.member(late),)))
    endpoint.update(Membership(0, (hand.member(late),)))
    assert ["r0"] == [reading.replica for reading in endpoint.readings()]


async def test_other_arms_are_not_ours(replica, hop, hand):
    """One list speaks of all."""
    endpoint = await hop(await replica())
    endpoint.update(Membership(2, (Member("another", "r9", Address("/nowhere")),)))
    assert ["r0"] == [reading.replica for reading in endpoint.readings()]


async def test_a_replica_that_nobody_lists_and_nobody_reaches_is_forgotten(replica, hop, hand):
    """Nothing is tried for ever."""
    server = await replica()
    endpoint = await hop(server)
    endpoint.update(Membership(2, ()))
    await server.close()
    await hand.until(lambda: not endpoint.readings())


async def test_a_listed_replica_is_tried_until_it_comes(replica, hop, hand, soon, tmp_path):
    """A list may be ahead of what it lists, and a lost replica may come back."""
    path = str(tmp_path / "late.sock")
    endpoint = await hop()
    endpoint.update(Membership(2, (Member("arm", "late", Address(path)),)))
    await hand.until(lambda: "no socket" in endpoint.readings()[0].why)
    for _ in range(2):
        server = await replica(replica="late", unix=path)
        await endpoint.greeted(60)
        assert (await asked(endpoint, soon, hand)).outputs
        await server.close()
        await hand.until(lambda: not endpoint.ready())


async def test_a_replica_said_to_be_gone_is_left(replica, hop, hand):
    """The one word that ends a connection that lives."""
    server = await replica()
    endpoint = await hop(server, await replica())
    endpoint.update(Membership(2, (hand.member(server, State.GONE),)))
    await hand.until(lambda: not server._connections)
    await hand.until(lambda: ["r1"] == [reading.replica for reading in endpoint.readings()])


async def test_a_starting_replica_is_not_asked_before_it_is_ready(replica, hop, hand, soon):
    """It would only say no."""
    server = await replica()
    endpoint = await hop()
    endpoint.update(Membership(2, (hand.member(server, State.STARTING),)))
    with pytest.raises(NotReady):
        await asked(endpoint, soon, hand)
    endpoint.update(Membership(3, (hand.member(server),)))
    await endpoint.greeted(60)


@pytest.mark.parametrize("told", ["by itself", "by the list"])
async def test_a_draining_replica_answers_what_it_has_and_is_left(replica, hop, hand, soon, told):
    """Nothing is lost, and nothing waits for it."""
    go = asyncio.Event()
    leaving = await replica(FakeEndpoint(hand.signature, [Wait(go, Compute(hand.sums))]))
    endpoint = await hop(leaving)
    first = asked(endpoint, soon, hand)
    await hand.until(lambda: leaving.open_n)
    staying = await replica()
    endpoint.update(Membership(2, (hand.member(leaving), hand.member(staying))))
    await hand.until(lambda: len(endpoint._live) == 2)
    if told == "by itself":
        drained = asyncio.create_task(leaving.drain(60))
    else:
        endpoint.update(Membership(3, (hand.member(leaving, State.DRAINING), hand.member(staying))))
        drained = asyncio.create_task(hand.until(lambda: not leaving._connections))
    await hand.until(lambda: len(endpoint._live) == 1)
    await asyncio.gather(*[asked(endpoint, soon, hand) for _ in range(20)])
    assert (1, 20) == (leaving.counts.calls_n, staying.counts.calls_n)
    go.set()
    assert (await first).outputs
    await drained
    assert 0 == endpoint.counts.retried_n


async def test_silence_is_loss(hop, hand, soon, replica):
    """A frozen replica keeps its sockets; what it does not keep is answering."""
    server = await replica(FakeEndpoint(hand.signature, [Hang()]))
    endpoint = await hop(server, pace=replace(hand.patient, ping_s=0.02, silent_s=0.2))
    call = asked(endpoint, soon, hand)
    await hand.until(lambda: server.open_n)
    # It reads and answers nothing any more, as if it were stopped; its signs of life as well.
    server._beating.cancel()
    for connection in server._connections:
        connection._transport.pause_reading()
    with pytest.raises(ReplicaLost):
        await call


async def test_a_gateway_that_slept_does_not_blame_its_replicas(replica, hop, hand, soon, monkeypatch):
    """After a pause of this process nobody has been heard of for a while."""
    endpoint = await hop(await replica())
    (peer,) = endpoint._peers.values()
    for link in peer._links():
        link.heard_at -= 3600
    endpoint._ticked_at -= 3600
    endpoint._ticking.cancel()
    endpoint._tick()
    assert endpoint.ready()


async def test_of_two_replicas_the_one_with_less_to_do_is_asked(replica, hop, hand, soon):
    """A busy one gets no more until it is no worse than the other."""
    busy = await replica(FakeEndpoint(hand.signature, [Hang()]))
    endpoint = await hop(busy)
    calls = [asked(endpoint, soon, hand) for _ in range(3)]
    await hand.until(lambda: busy.open_n == 3)
    idle = await replica()
    endpoint.update(Membership(2, (hand.member(busy), hand.member(idle))))
    await hand.until(lambda: len(endpoint._live) == 2)
    for _ in range(10):
        await asked(endpoint, soon, hand)
    assert (3, 10) == (busy.counts.calls_n, idle.counts.calls_n)
    for call in calls:
        call.cancel()


async def test_a_replica_slower_than_its_peers_rests(replica, hop, hand, soon):
    """And is asked again later; the fast ones are asked meanwhile."""
    slow, fast = await replica(), await replica()
    endpoint = await hop(slow, fast)
    await hand.until(lambda: len(endpoint._live) == 2)
    for server, took_s in ((slow, 0.5), (fast, 0.001)):
        pulse = endpoint._peers[server.welcome.replica].pulse
        for _ in range(SEEN_N):
            pulse.see(took_s, failed=False)
    await hand.until(lambda: endpoint.counts.ejected_n)
    before_n = slow.counts.calls_n
    await asyncio.gather(*[asked(endpoint, soon, hand) for _ in range(20)])
    assert (before_n, 20) == (slow.counts.calls_n, fast.counts.calls_n)
    assert {"r0": "resting", "r1": "live"} == {each.replica: each.state for each in endpoint.readings()}
    await fast.close()
    await hand.until(lambda: [peer.member.replica for peer in endpoint._live] == ["r0"])
    assert (await asked(endpoint, soon, hand)).outputs


async def test_a_reading_says_what_a_replica_runs_on_and_how_much_it_has_to_do(replica, hop, hand, soon):
    """People look at it; nothing is decided by it."""
    told = Description(SIGNATURE, "turnout_fake", "1", "f" * 64, "cuda", "the CPU would do")
    held = FakeEndpoint(SIGNATURE, [Hang()], description=told)
    endpoint = await hop(await replica(held), pace=Pace(ping_s=0.01, silent_s=60.0, greeting_s=60.0))
    asking = asked(endpoint, soon, hand)
    async with asyncio.timeout(60):
        while not endpoint.readings()[0].open_n:
            await asyncio.sleep(0.01)
    (found,) = endpoint.readings()
    assert ("live", "cuda", "the CPU would do", 1) == (*(found.state, found.provider, found.degraded, found.pending_n),)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_a_detour_is_taken_only_while_no_replica_can_be_reached(replica, hop, hand, soon):
    """It is dear, and better than no answer."""
    detour, direct = await replica(), await replica()
    around = replace(hand.member(detour), is_detour=True)
    endpoint = await hop()
    endpoint.update(Membership(2, (around, Member("arm", "unreachable", Address("/nowhere")))))
    await endpoint.greeted(60)
    assert (await asked(endpoint, soon, hand)).outputs
    endpoint.update(Membership(3, (around, hand.member(direct))))
    await hand.until(lambda: [peer.member.replica for peer in endpoint._live] == ["r1"])
    for _ in range(10):
        await asked(endpoint, soon, hand)
    assert (1, 10) == (detour.counts.calls_n, direct.counts.calls_n)
    await direct.close()
    await hand.until(lambda: [peer.member.replica for peer in endpoint._live] == ["r0"])
    assert (await asked(endpoint, soon, hand)).outputs


async def test_a_replica_with_another_model_is_not_asked(replica, hop, hand, soon):
    """An arm is one model, whoever serves it."""
    endpoint = await hop(await replica())
    other = await replica(FakeEndpoint(hand.signature, [Hang()], description=hand.described(digest="e" * 64)))
    endpoint.update(Membership(2, (hand.member(other),)))
    await hand.until(lambda: any("holds model eeee" in reading.why for reading in endpoint.readings()))
    assert (await asked(endpoint, soon, hand)).outputs
    assert 0 == other.counts.calls_n


async def test_another_replica_on_the_same_address_is_not_taken_for_it(replica, hop, hand):
    """Ports and file names are used again."""
    server = await replica()
    endpoint = await hop()
    endpoint.update(Membership(2, (Member("arm", "r-old", server.address),)))
    await hand.until(lambda: "replica r0 listens there" in endpoint.readings()[0].why)
    assert not endpoint.ready()


async def test_no_replica_in_time_says_what_each_of_them_said(hop, hand, tmp_path, secret, replica):
    """Whoever starts an arm learns why it does not come up."""
    server = await replica()
    (tmp_path / "other").write_bytes(b"another of sixteen bytes")
    endpoint = HopEndpoint("arm", Dial(tmp_path / "other", pace=hand.patient))
    try:
        with pytest.raises(LoadRefused, match=r"no replica was ready within 0.01 s: none is known"):
            await endpoint.greeted(0.01)
        endpoint.update(Membership(1, (hand.member(server),)))
        await hand.until(lambda: "does not know" in endpoint.readings()[0].why)
        with pytest.raises(LoadRefused, match=r"r0: .*the gateway does not know the replica's secret"):
            await endpoint.greeted(0.01)
        with pytest.raises(NotReady):
            _ = endpoint.description
    finally:
        await endpoint.close()


async def test_a_known_description_stands_before_anybody_is_reached(secret, hand, soon):
    """A gateway can start while the cluster is away; its fallbacks answer."""
    endpoint = HopEndpoint("arm", Dial(secret), hand.described())
    assert (hand.described(), False) == (endpoint.description, endpoint.ready())
    with pytest.raises(NotReady, match="no replica is live"):
        await asked(endpoint, soon, hand)
    await endpoint.close()


async def test_closing_fails_what_is_under_way(replica, hop, hand, soon):
    """And is not mistaken for a lost replica, which would be asked again."""
    endpoint = await hop(await replica(FakeEndpoint(hand.signature, [Hang()])))
    call = asked(endpoint, soon, hand)
    await asyncio.sleep(0)
    await endpoint.close()
    with pytest.raises(NotReady, match="closed"):
        await call
    assert 0 == endpoint.counts.retried_n


async def test_a_replica_that_does_not_read_cannot_fill_our_memory(replica, hop, hand, soon, monkeypatch):
    """What waits to be sent is bounded."""
    monkeypatch.setattr("runners.ray.link.UNSENT_BYTES", 1 << 20)
    server = await replica(FakeEndpoint(hand.signature, [Hang()]))
    endpoint = await hop(server)
    for connection in server._connections:
        connection._transport.pause_reading()
    x = np.zeros((1 << 16, 4), "<f4")
    waiting = [asked(endpoint, soon, hand, x)]
    while not waiting[-1].done():  # each but the last goes as far as the sockets' own memory
        waiting.append(asked(endpoint, soon, hand, x))
        await asyncio.sleep(0.005)
    with pytest.raises(Overloaded, match="wait to be sent"):
        await waiting.pop()
    for call in waiting:
        call.cancel()


async def test_the_hop_can_be_encrypted_with_both_sides_known(replica, hop, hand, soon, certificates):
    """For networks that others share."""
    tls = certificates.signed("turnout-hop")
    server = await replica(unix="", host="127.0.0.1", tls=tls)
    endpoint = await hop(server, tls=tls)
    x = np.ones((1 << 16, 4), "<f4")
    assert x.shape[0] == len((await asked(endpoint, soon, hand, x)).outputs[0].array)
    assert (await asked(endpoint, soon, hand)).outputs


async def test_whoever_wants_tls_takes_no_plain_way(replica, hop, certificates, tmp_path):
    """A socket file on the same machine is the shorter way where nothing need be encrypted, and only there."""
    tls = certificates.signed("turnout-hop")
    server = await replica(host="127.0.0.1", tls=tls)
    await hop(server)
    await hop(server, tls=tls)
    encrypted = [connection._transport.get_extra_info("cipher") is not None for connection in server._connections]
    assert [False, False, True, True] == sorted(encrypted)


@pytest.mark.parametrize(
    ("there", "here", "says"),
    [
        ("ours", "others", "its certificate is refused: self-signed certificate in certificate chain"),
        ("another name", "ours", "is not valid for 'turnout-hop'"),
        ("ours", "no certificate", "cure: cert_file and key_file, if it asks for a certificate"),
        ("plain", "ours", "it speaks without TLS; cure: give its node a certificate"),
        ("ours", "plain", "no greeting in time; one that speaks TLS gives none"),
    ],
)
async def test_who_differs_about_tls_is_refused_in_words(replica, hand, secret, certificates, there, here, says):
    """The gateway's log and status say what to mend."""
    ours = certificates.signed("turnout-hop")
    sides = {
        "ours": ours,
        "others": replace(ours, ca=certificates.another().ca),
        "another name": certificates.signed("somebody-else"),
        "no certificate": replace(ours, cert=None, key=None),
        "plain": None,
    }
    server = await replica(unix="", host="127.0.0.1", tls=sides[there])
    pace = replace(hand.patient, greeting_s=0.2) if here == "plain" else hand.patient
    endpoint = HopEndpoint("arm", Dial(secret, sides[here], pace))
    endpoint.update(Membership(1, (hand.member(server),)))
    await hand.until(lambda: says in endpoint.readings()[0].why)
    assert not endpoint.ready()
    await endpoint.close()


def test_files_for_tls_that_cannot_be_used_are_named(certificates, tmp_path):
    tls = certificates.signed("turnout-hop")
    (tmp_path / "empty.pem").write_text("")
    for broken in (replace(tls, ca=tmp_path / "absent.pem"), replace(tls, key=tmp_path / "empty.pem")):
        for context in (client_context, server_context):
            with pytest.raises(LoadRefused, match=r"(absent|empty)\.pem.*: these files cannot be used: "):
                context(broken)
