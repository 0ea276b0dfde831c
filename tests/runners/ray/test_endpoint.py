"""What the gateway's side of the hop promises its callers."""

import asyncio

import numpy as np

from runners.core.tensor import InferenceRequest, Tensor


def ask_for(x, outputs=()):
    return InferenceRequest("m", (Tensor("x", "FP32", np.asarray(x, "<f4")),), outputs)


async def test_a_replica_answers(replica, hop, soon):
    """The model may be anywhere."""
    endpoint = await hop(await replica())
    answer = await endpoint.infer(ask_for([[1, 2, 3, 4]]), deadline_at=soon())
    assert [("y", [[10.0]]), ("n", [7])] == [(t.name, t.array.tolist()) for t in answer.outputs]


async def test_many_callers_get_their_own_answers(replica, hop, soon):
    """Nobody gets somebody else's."""
    endpoint = await hop(await replica(), await replica())
    calls = [endpoint.infer(ask_for(np.full((n % 7, 4), n), ("y",)), deadline_at=soon()) for n in range(300)]
    answers = await asyncio.gather(*calls)
    assert [[[4.0 * n]] * (n % 7) for n in range(300)] == [answer.outputs[0].array.tolist() for answer in answers]
