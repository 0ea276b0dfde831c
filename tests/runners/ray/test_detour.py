"""Detours, by handles that do what Serve's do as far as this process can tell."""

import asyncio
import socket
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from runners.fake import Compute, FakeEndpoint
from runners.ray.agent import Agent
from runners.ray.bundle import answer_bundle
from runners.ray.detour import STRAIGHT_BYTES, Detours
from runners.ray.endpoint import HopEndpoint
from runners.ray.members import Address, Member, Membership, State
from runners.ray.settings import Dial
from runners.ray.tensors import Wire


class Handle:
    """A deployment's handle; `sent` are the sizes of bundles, and whether each went by the object store."""

    def __init__(self, hand):
        self.sent = []
        self.fails_n = 0
        self._hand = hand
        self.describe = SimpleNamespace(remote=lambda: self)

    def result(self, timeout_s):
        if self.fails_n:
            self.fails_n -= 1
            raise TimeoutError
        return msgspec.json.encode(self._hand.described())

    def options(self, *, method_name, _by_reference=True):
        assert "answer_bundle" == method_name

        async def remote(bundle):
            self.sent.append((len(bundle), _by_reference))
            endpoint = FakeEndpoint(self._hand.signature, [Compute(self._hand.sums)])
            return await answer_bundle(endpoint, Wire(self._hand.signature), bundle)

        return SimpleNamespace(remote=remote)


@pytest.fixture
def detours(secret, tmp_path):
    """Detours by these handles."""
    made = []

    def make(**handles):
        made.append(Detours(secret, tmp_path, handles.__getitem__, again_s=0.01))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def opened(detours, running):
    while len(members := detours.members(running)) < len(running):
        await asyncio.sleep(0.005)
    return members


async def test_an_arm_is_asked_by_its_handle(detours, hand, secret, soon):
    """A gateway that reaches no replica is answered all the same."""
    handle = Handle(hand)
    members = await opened(detours(app=handle), {"app": "arm"})
    assert [("arm", "detour-app", True)] == [(m.arm_key, m.replica, m.is_detour) for m in members]
    endpoint = HopEndpoint("arm", Dial(secret, pace=hand.patient))
    endpoint.update(Membership(1, members))
    await endpoint.greeted(60)
    calls = [endpoint.infer(hand.ask_for([[n, 0, 0, 0]], ("y",)), deadline_at=soon(60)) for n in range(50)]
    answers = await asyncio.gather(*calls)
    assert [[[float(n)]] for n in range(50)] == [answer.outputs[0].array.tolist() for answer in answers]
    large = np.ones((STRAIGHT_BYTES // 16, 4), "<f4")
    assert (await endpoint.infer(hand.ask_for(large), deadline_at=soon(60))).outputs
    assert [False, True] == [by_store for _, by_store in (handle.sent[0], handle.sent[-1])]
    await endpoint.close()


async def test_what_runs_no_more_is_closed(detours, hand, tmp_path):
    """Its name may be used again."""
    made = detours(app=Handle(hand))
    await opened(made, {"app": "arm"})
    assert (tmp_path / "app.sock").exists()
    assert () == made.members({})
    await hand.until(lambda: not (tmp_path / "app.sock").exists())
    assert await opened(made, {"app": "arm"})


async def test_one_that_cannot_be_opened_is_tried_again_and_holds_up_nobody(detours, hand):
    """A replica that has just started may not answer yet."""
    slow = Handle(hand)
    slow.fails_n = 2
    made = detours(slow=slow, quick=Handle(hand))
    assert {"one", "other"} == {m.arm_key for m in await opened(made, {"slow": "one", "quick": "other"})}
    assert 0 == slow.fails_n


async def test_an_agent_lists_detours_only_to_what_has_replicas(detours, hand):
    """One to an application that sleeps would hold its callers up, where the baseline could answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        agent = Agent("nowhere", ours)
        members = [Member("awake", "r0", Address("/s")), Member("asleep", "r1", Address("/t"), state=State.DRAINING)]
        assert () == agent._around(members)
        agent._detours = detours(awake=Handle(hand))
        await hand.until(lambda: agent._around(members))
        assert ["awake"] == [member.arm_key for member in agent._around(members)]
