"""A replica as its process sees it, and as a gateway sees its process die."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from runners.core.errors import LoadRefused
from runners.embedded import Embedded
from runners.fake import Compute, FakeEndpoint
from runners.ray.endpoint import HopEndpoint
from runners.ray.members import Address, Member, Membership
from runners.ray.serving import serve_hop
from runners.ray.settings import Dial, Listen

HERE = Path(__file__).parent


@pytest.fixture
def listen(tmp_path, secret):
    return Listen("r", secret, unix=str(tmp_path / "r.sock"))


@pytest.fixture
def hop_of(listen):
    """Serves an endpoint in a thread; closed in the end."""
    hops = []

    def serve(open_endpoint, **how):
        hops.append(serve_hop(open_endpoint, replace(listen, **how)))
        return hops[-1]

    yield serve
    for hop in hops:
        hop.close()


async def reached(secret, hand, *members, **pace):
    endpoint = HopEndpoint("arm", Dial(secret, pace=replace(hand.patient, **pace)))
    endpoint.update(Membership(1, members))
    await endpoint.greeted(60)
    return endpoint


async def test_a_model_is_opened_and_answers_in_the_hops_own_thread(hop_of, ref, secret, hand, soon, ask):
    """Whatever else the process does on its own loop."""
    hop = hop_of(lambda: Embedded().open(ref("sum")))
    endpoint = await reached(secret, hand, Member("arm", "r", hop.address))
    answer = await endpoint.infer(ask(x=np.ones((2, 4), "<f4")), deadline_at=soon())
    assert [[4.0], [4.0]] == answer.outputs[0].array.tolist()
    assert (hop.description, "") == (endpoint.description, hop.fault())
    await endpoint.close()


async def test_calls_of_several_gateways_share_runs(hop_of, ref, secret, hand, soon, ask):
    """The batch is formed where all of them meet."""
    hop = hop_of(lambda: Embedded().open(ref("sum")))
    gateways = [await reached(secret, hand, Member("arm", "r", hop.address)) for _ in range(2)]
    many = [gateways[n % 2].infer(ask(x=np.full((1, 4), n, "<f4")), deadline_at=soon()) for n in range(100)]
    answers = await asyncio.gather(*many)
    assert [[[4.0 * n]] for n in range(100)] == [answer.outputs[0].array.tolist() for answer in answers]
    assert max(answer.batch_rows for answer in answers) > 1
    assert 100 == hop.counts.calls_n
    for gateway in gateways:
        await gateway.close()


def test_a_model_that_cannot_be_opened_leaves_nothing_behind(listen):
    """The reason comes to whoever asked, and the thread ends."""

    async def refuse():
        raise LoadRefused("m", "has no file")

    before = set(threading.enumerate())
    with pytest.raises(LoadRefused, match="has no file"):
        serve_hop(refuse, listen)
    assert set() == set(threading.enumerate()) - before
    assert not Path(listen.unix).exists()


def test_an_address_that_cannot_be_had_closes_the_model(listen, hand):
    """A replica that nobody can reach holds no memory."""
    endpoint = FakeEndpoint(hand.signature, [Compute(hand.sums)])

    async def opened():
        return endpoint

    with pytest.raises(LoadRefused, match="cannot listen"):
        serve_hop(opened, replace(listen, unix="/nowhere/s"))
    assert endpoint.is_closed


def test_a_fault_is_told_to_whoever_checks_health(hop_of, hand, monkeypatch):
    """A model that is stuck, a loop that does not turn, a hop that has ended."""
    endpoint = FakeEndpoint(hand.signature, [Compute(hand.sums)])

    async def opened():
        return endpoint

    hop = hop_of(opened)
    assert "" == hop.fault()
    endpoint.is_broken = True
    assert "the model is not ready" == hop.fault()
    monkeypatch.setattr("runners.ray.serving.SILENT_S", -1.0)
    assert "has not turned for" in hop.fault()
    hop.close()
    hop.close()
    assert ("the hop has ended", True) == (hop.fault(), endpoint.is_closed)


class Process:
    """A replica in a process of its own."""

    def __init__(self, *words: str):
        command = [sys.executable, str(HERE / "a_replica.py"), *words]
        self.name = words[1]
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def said(self) -> dict:
        line = await asyncio.to_thread(self.popen.stdout.readline)
        assert line, "the replica ended"
        return json.loads(line)

    async def member(self) -> Member:
        said = await self.said()
        assert not said["ray"], "a replica's hop needs no ray"
        return Member("arm", self.name, msgspec.convert(said["address"], Address))

    def end(self) -> None:
        self.popen.kill()
        self.popen.stdin.close()
        self.popen.stdout.close()
        self.popen.wait()


@pytest.fixture
def processes(model_file, secret, tmp_path):
    """Starts replicas of the model that sums, as processes."""
    started = []

    def start(*names, host=""):
        file = str(model_file("sum"))
        fresh = [Process(file, name, str(secret), str(tmp_path / f"{name}.sock"), host) for name in names]
        started.extend(fresh)
        return fresh

    yield start
    for process in started:
        process.end()


class Callers:
    """Ask all the time, and count what came of it."""

    def __init__(self, endpoint, request, soon):
        self.answered_n, self.failures = 0, []
        self._tasks = [asyncio.create_task(self._ask(endpoint, request, soon)) for _ in range(4)]

    async def _ask(self, endpoint, request, soon):
        while True:
            try:
                await endpoint.infer(request, deadline_at=soon(60))
                self.answered_n += 1
            except Exception as error:
                self.failures.append(repr(error))
                await asyncio.sleep(0.01)

    async def more(self, hand, count=50):
        """Wait until so many more were answered."""
        goal = self.answered_n + count
        await hand.until(lambda: self.answered_n >= goal)

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_a_process_that_drains_loses_nothing(processes, secret, hand, soon, ask):
    """A new replica beside the old one, then the old one leaves: no caller notices, and nothing is asked twice."""
    old, new = processes("old", "new")
    members = await old.member(), await new.member()
    endpoint = await reached(secret, hand, members[0])
    callers = Callers(endpoint, ask(x=np.ones((1, 4), "<f4")), soon)
    await callers.more(hand)
    endpoint.update(Membership(2, members))
    await hand.until(lambda: len(endpoint._live) == 2)
    old.popen.stdin.write("drain\n")
    old.popen.stdin.flush()
    assert {"drained": True} == await old.said()
    old.end()
    await callers.more(hand)
    assert ([], 0) == (callers.failures, endpoint.counts.retried_n)
    await callers.stop()
    await endpoint.close()
