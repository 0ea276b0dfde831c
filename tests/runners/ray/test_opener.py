"""Opening an arm that is hosted elsewhere: with replicas, without any, and without a cluster."""

from time import monotonic

import numpy as np
import onnx
import pytest

from runners.core.errors import LoadRefused, NotReady
from runners.core.runner import Hosting, ModelRef
from runners.core.tensor import InferenceRequest, Tensor
from runners.embedded import Embedded
from runners.ray.board import Board
from runners.ray.members import NOBODY, Address, Member, Membership
from runners.ray.opener import OpenedHere, RayRunner
from runners.ray.settings import Dial, Pace

SUM = """
<ir_version: 9, opset_import: ["" : 17]>
g (float[n, 4] x) => (float[n, 1] y) { axes = Constant <value = int64[1] {1}> () y = ReduceSum (x, axes) }
"""
NOBODY_THERE = Address(host="127.0.0.1", port=9)
PATIENT = Pace(silent_s=60.0, greeting_s=60.0, retry_s=0.01, retry_most_s=0.05)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "m.onnx").write_bytes(onnx.parser.parse_model(SUM).SerializeToString())
    return ModelRef("file:m.onnx", tmp_path, hosting=Hosting(key="turnout-1"))


@pytest.fixture
def board(secret):
    return Board(Dial(secret, pace=PATIENT), NOBODY)


async def answer(endpoint):
    request = InferenceRequest("m", (Tensor("x", "FP32", np.ones((1, 4), "f4")),))
    response = await endpoint.infer(request, deadline_at=monotonic() + 30)
    return response.outputs[0].array.tolist()


async def test_an_arm_with_a_replica_is_asked_there(model, board, replica):
    there = await replica(await Embedded().open(model), replica="r")
    board.update(Membership(1, (Member("turnout-1", "r", there.address),)))
    endpoint = await RayRunner(board).open(model)
    assert await answer(endpoint) == [[4.0]]
    await endpoint.close()


async def test_an_arm_without_replicas_is_described_and_not_ready(model, board):
    """The route can be served: the resident baseline answers until somebody comes."""
    endpoint = await RayRunner(board).open(model)
    assert [spec.name for spec in endpoint.description.signature.inputs] == ["x"]
    assert not endpoint.ready()
    with pytest.raises(NotReady):
        await answer(endpoint)
    await endpoint.close()


async def test_replicas_that_come_later_are_asked(model, board, replica):
    endpoint = await RayRunner(board).open(model)
    there = await replica(await Embedded().open(model), replica="r")
    board.update(Membership(1, (Member("turnout-1", "r", there.address),)))
    await endpoint.greeted(30)
    assert await answer(endpoint) == [[4.0]]
    assert [reading.replica for reading in board.readings()["turnout-1"]] == ["r"]
    await endpoint.close()


async def test_shadows_have_connections_of_their_own(model, board, replica):
    """Both endpoints of an arm learn who there is."""
    there = await replica(await Embedded().open(model), replica="r")
    one, other = [await RayRunner(board).open(model) for _ in range(2)]
    board.update(Membership(1, (Member("turnout-1", "r", there.address),)))
    for endpoint in (one, other):
        await endpoint.greeted(30)
        assert await answer(endpoint) == [[4.0]]
        await endpoint.close()


async def test_news_that_is_old_changes_nothing(model, board):
    board.update(Membership(5, (Member("turnout-1", "new", NOBODY_THERE),)))
    board.update(Membership(4, ()))
    assert board.has_ready("turnout-1")


async def test_without_a_cluster_the_cure_is_told(model):
    with pytest.raises(LoadRefused, match="--ray local"):
        await RayRunner().open(model)


async def test_a_rehearsal_opens_here_what_would_be_hosted_elsewhere(model):
    """Whoever changes the state beside a gateway is told of a model that cannot be opened."""
    opened = await OpenedHere().open(model)
    assert await answer(opened) == [[4.0]]
    await opened.close()
    (model.root / "m.onnx").write_bytes(b"no model")
    with pytest.raises(LoadRefused):
        await OpenedHere().open(model)


async def test_a_request_that_finds_nobody_is_told_of_once_a_second(model, board):
    """So that an arm which sleeps while nobody asks is woken, and by a thousand requests no more than by one."""
    missed = []
    board.connect(missed.append)
    endpoint = await RayRunner(board).open(model)
    for _ in range(3):
        with pytest.raises(NotReady):
            await answer(endpoint)
    assert missed == ["turnout-1"]
    await endpoint.close()
