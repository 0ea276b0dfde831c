"""Everything at once: replicas come, drain and are cut off while callers ask, leave and run out of time."""

import asyncio
import random

import numpy as np
import pytest

from runners.core.errors import DeadlineExceeded, NotReady
from runners.core.tensor import Tensor
from runners.fake import Compute, FakeEndpoint
from runners.ray.link import ReplicaLost
from runners.ray.members import Membership, State


class Slow(FakeEndpoint):
    """Answers after a few turns of the loop, some of them after more."""

    async def infer(self, request, /, *, deadline_at):
        for _ in range(random.randrange(30)):
            await asyncio.sleep(0)
        return await super().infer(request, deadline_at=deadline_at)


class Callers:
    """Whatever comes of a request is counted; a wrong answer fails the test."""

    def __init__(self, endpoint, hand, soon):
        self.told = {}
        self.lost_n = 0
        self._endpoint, self._hand, self._soon = endpoint, hand, soon

    async def ask(self, number):
        rows = random.choice([1, 1, 1, 7, 5000])  # the last has a connection of its own
        x = np.full((rows, 4), number, "<f4")
        call = asyncio.ensure_future(
            self._endpoint.infer(self._hand.ask_for(x, ("y",)), deadline_at=self._soon(random.choice([0.001, 60, 60])))
        )
        if random.random() < 0.1:
            await asyncio.sleep(0)
            call.cancel()
        try:
            answer = await call
        except (DeadlineExceeded, NotReady, ReplicaLost) as error:
            self._tell(type(error).__name__)
        except asyncio.CancelledError:
            self._tell("cancelled")
        else:
            assert [("y", (rows, 1))] == [(t.name, t.shape) for t in answer.outputs]
            assert (answer.outputs[0].array == 4.0 * number).all()
            self._tell("answered")

    def _tell(self, what):
        self.told[what] = self.told.get(what, 0) + 1


@pytest.mark.parametrize("seed", range(4))
async def test_each_request_has_one_outcome_and_no_answer_is_anothers(replica, hop, hand, soon, seed):
    """And when it is over, nothing is left behind on either side."""
    random.seed(seed)
    fresh = lambda: replica(Slow(hand.signature, [Compute(double)]))  # noqa: E731
    servers, seq, gone = [await fresh() for _ in range(3)], 1, []
    endpoint = await hop(*servers)
    callers = Callers(endpoint, hand, soon)
    for turn in range(25):
        await hand.until(lambda: len(endpoint._live) >= 2)
        batch = [asyncio.create_task(callers.ask(turn * 40 + n)) for n in range(40)]
        await asyncio.sleep(random.choice([0, 0, 0.002]))
        leaving = servers.pop(random.randrange(len(servers)))
        gone.append(leaving)
        servers.append(await fresh())
        states = [hand.member(server) for server in servers]
        what = random.choice(["cut", "drain", "told", "forgotten"])
        if what == "cut":
            await leaving.close()
        elif what == "drain":
            batch.append(asyncio.create_task(leaving.drain(60)))
        elif what == "told":
            states.append(hand.member(leaving, random.choice([State.DRAINING, State.GONE])))
        seq += 1
        endpoint.update(Membership(seq, tuple(states)))
        await asyncio.gather(*batch)
    assert 1000 == sum(callers.told.values())
    assert callers.told["answered"] > 300
    await hand.until(lambda: not any(server.open_n for server in (*servers, *gone)))
    assert [0] * len(endpoint.readings()) == [reading.pending_n for reading in endpoint.readings()]
    assert endpoint.counts.sent_n <= 1000
    await endpoint.close()
    await hand.until(lambda: not any(server._connections for server in (*servers, *gone)))


def double(request):
    return (Tensor("y", "FP32", request.inputs[0].array.sum(1, keepdims=True)),)
