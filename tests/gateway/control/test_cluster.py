"""The cluster from the control process: told what to host, listened to, and never a reason to stop."""

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.control import cluster as module
from gateway.control.cluster import Cluster, ClusterPlace, apps_of
from runners.core.runner import Hosting, ModelRef
from runners.ray.logs import LogsAway, LogTail
from runners.ray.members import NOBODY, Address, Member, Membership, State
from runners.ray.wanted import App, AppSeen, Seen, Tail, Tailed, Wake, Want, line, read_order

LIMIT_S = 60


class FakeAgent:
    """Stands in for the child process: reads orders, and says what a test has it say."""

    def __init__(self):
        self.ended = asyncio.Event()

    async def begin(self):
        ours, theirs = socket.socketpair()
        self.reader, self.writer = await asyncio.open_unix_connection(sock=theirs)
        return ours

    async def hear(self, wanted=Want):
        async with asyncio.timeout(LIMIT_S):
            while True:
                order = read_order(await self.reader.readline())
                if isinstance(order, wanted):
                    return order

    def say(self, *members, apps=(), trouble=""):
        self.seq = getattr(self, "seq", 0) + 1
        self.writer.write(line(Seen(Membership(self.seq, members), apps, trouble)))

    def end(self):
        self.writer.close()

    def kill(self):
        self.ended.set()

    async def wait(self):
        return 0


@pytest.fixture
async def agents(monkeypatch):
    """Every agent that was started, the first of them at once."""
    started, all_of_them = asyncio.Queue(), []

    async def start(_address):
        agent = FakeAgent()
        channel = await agent.begin()
        started.put_nowait(agent)
        all_of_them.append(agent)
        return agent, channel

    monkeypatch.setattr(module, "_start_agent", start)
    monkeypatch.setattr(module, "AGAIN_FIRST_S", 0.01)
    yield started
    for agent in all_of_them:
        agent.end()
        await agent.writer.wait_closed()


@pytest.fixture
async def cluster(agents, tmp_path):
    made = Cluster(ClusterPlace("h:1", tmp_path))
    keeping = asyncio.create_task(made.keep())
    yield made
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def app(name="turnout-1", **hosting):
    return App(ModelRef("file:m.onnx", Path("/m"), hosting=Hosting(key=name, **hosting)))


def member(name="turnout-1", state=State.READY):
    return Member(name, "r", Address(host="h", port=1), state=state)


async def within(awaitable):
    async with asyncio.timeout(LIMIT_S):
        return await awaitable


async def test_an_arm_is_hosted_once_a_replica_is_there(cluster, agents):
    agent = await within(agents.get())
    hosting = asyncio.create_task(cluster.host(1, [app()]))
    while not (await agent.hear()).apps:
        pass
    agent.say(apps=(AppSeen("turnout-1", "DEPLOYING"),))
    agent.say(member(), apps=(AppSeen("turnout-1", "RUNNING"),))
    assert await within(hosting) == {}


@pytest.mark.parametrize("status", ["DEPLOY_FAILED", "REFUSED"])
async def test_an_arm_that_cannot_be_hosted_is_refused_with_rays_own_words(cluster, agents, status):
    agent = await within(agents.get())
    hosting = asyncio.create_task(cluster.host(1, [app()]))
    agent.say(apps=(AppSeen("turnout-1", status, "no node has so many GPUs"),))
    assert await within(hosting) == {"turnout-1": "no node has so many GPUs"}


async def test_a_change_waits_for_no_replica_of_what_is_live_already(cluster, agents):
    """While an arm that serves has lost its replicas another one can still be published, or the old one taken back."""
    agent = await within(agents.get())
    hosting = asyncio.create_task(cluster.host(2, [app("turnout-1"), app("turnout-2")], {"turnout-1"}))
    agent.say(member("turnout-2"), apps=(AppSeen("turnout-1", "DEPLOY_FAILED"), AppSeen("turnout-2", "RUNNING")))
    assert await within(hosting) == {}
    assert cluster.wanted == {"turnout-1", "turnout-2"}


async def test_a_cluster_that_does_not_answer_refuses_what_is_new(cluster, agents):
    """And what is hosted already stays known: its replicas have nothing to do with it."""
    agent = await within(agents.get())
    agent.say(member())
    hosting = asyncio.create_task(cluster.host(1, [app("turnout-2")]))
    agent.say(trouble="it has another Python")
    assert await within(hosting) == {"turnout-2": "it has another Python"}
    assert cluster.membership.members == (member(),)


async def test_an_arm_that_may_sleep_needs_no_replica(cluster, agents):
    agent = await within(agents.get())
    hosting = asyncio.create_task(cluster.host(1, [app(replicas=0, most=2)]))
    agent.say(apps=(AppSeen("turnout-1", "RUNNING"),))
    assert await within(hosting) == {}


async def test_the_next_agent_is_told_everything_again(cluster, agents):
    """Whatever ended the first: nothing of what is wanted was its own."""
    cluster.want(1, [app()])
    first = await within(agents.get())
    first.end()
    second = await within(agents.get())
    assert [each.name for each in (await second.hear()).apps] == ["turnout-1"]


async def test_what_two_revisions_want_is_hosted_until_one_is_live(cluster, agents):
    """The old arm drains only when the new one has taken its place."""
    agent = await within(agents.get())
    await agent.hear()
    cluster.want(1, [app("turnout-1")])
    cluster.want(2, [app("turnout-2")])
    await agent.hear()
    assert {each.name for each in (await agent.hear()).apps} == {"turnout-1", "turnout-2"}
    cluster.settle_on(2, [app("turnout-2")])
    assert [each.name for each in (await agent.hear()).apps] == ["turnout-2"]


async def test_a_revision_that_will_not_be_live_is_forgotten(cluster, agents):
    agent = await within(agents.get())
    await agent.hear()
    cluster.want(2, [app()])
    cluster.discard(2)
    await agent.hear()
    assert (await agent.hear()).apps == ()


async def test_what_other_gateways_want_is_left_alone(cluster, agents):
    agent = await within(agents.get())
    cluster.want(1, [app()])
    cluster.spare(["turnout-1", "turnout-9"])
    while (order := await agent.hear()).keep != ("turnout-1", "turnout-9"):
        pass
    assert [each.name for each in order.apps] == ["turnout-1"]


async def test_workers_hear_news_and_no_repetitions(cluster, agents):
    heard = []
    cluster.tell(heard.append)
    agent = await within(agents.get())
    agent.say(member())
    agent.say(member())
    agent.say(member(state=State.GONE))
    agent.say(apps=(AppSeen("turnout-1", "RUNNING"),))
    while "turnout-1" not in cluster.apps:
        await asyncio.sleep(0)
    assert [[each.state for each in membership.members] for membership in heard] == [["ready"], ["gone"], []]


async def test_replicas_are_remembered_over_a_restart(cluster, agents, tmp_path):
    """A gateway that starts while Ray is away asks those that were there last."""
    agent = await within(agents.get())
    agent.say(member())
    while not cluster.membership.members:
        await asyncio.sleep(0)
    assert Cluster(ClusterPlace("h:1", tmp_path)).membership.members == (member(),)


def test_a_memory_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "members.json").write_text("{")
    assert NOBODY == Cluster(ClusterPlace("h:1", tmp_path)).membership


async def test_an_agent_that_talks_nonsense_is_replaced(cluster, agents):
    agent = await within(agents.get())
    agent.writer.write(b"hello\n")
    await within(agents.get())


async def test_only_an_arm_that_may_sleep_is_woken(cluster, agents):
    """One whose replicas are all dead comes back by itself: a call would not help it."""
    agent = await within(agents.get())
    await agent.hear()
    cluster.want(1, [app("turnout-1"), app("turnout-2", replicas=0, most=1)])
    cluster.wake("turnout-1")
    cluster.wake("turnout-2")
    assert await agent.hear(Wake) == Wake("turnout-2")


def test_arms_that_are_hosted_alike_are_hosted_once():
    class Arm:
        def __init__(self, hosting):
            self.model = ModelRef("file:m", Path(), hosting=hosting)

    arms = [Arm(Hosting(key="a")), Arm(Hosting(key="a")), Arm(Hosting(key="b")), Arm(None), Arm(Hosting())]
    assert [each.name for each in apps_of(arms)] == ["a", "b"]


async def test_logs_are_read_by_the_agent(cluster, agents):
    agent = await within(agents.get())
    await agent.hear()
    reading = asyncio.create_task(cluster.tail("turnout-1", 7))
    asked = await agent.hear(Tail)
    assert ("turnout-1", 7) == (asked.name, asked.lines_n)
    answer = Tailed(asked.number, (LogTail("r", "n", ("a line",)),))
    agent.writer.write(line(Tailed(asked.number + 1, ())))  # of somebody who waits no more
    agent.writer.write(line(answer))
    assert answer == await within(reading)


async def test_while_ray_is_away_nobody_waits_for_logs(cluster, agents):
    agent = await within(agents.get())
    agent.say(trouble="nobody can be reached there")
    while not cluster.trouble:
        await asyncio.sleep(0.01)
    with pytest.raises(LogsAway, match="does not answer: nobody can be reached there"):
        await cluster.tail("turnout-1", 7)


async def test_an_agent_that_does_not_answer_is_not_waited_for_long(cluster, agents, monkeypatch):
    monkeypatch.setattr(module, "TAIL_LIMIT_S", 0.01)
    agent = await within(agents.get())
    await agent.hear()
    with pytest.raises(LogsAway, match="has not answered within"):
        await cluster.tail("turnout-1", 7)
