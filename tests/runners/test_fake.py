"""The fake plays its script, and is otherwise as strict as the real ones."""

import asyncio

import numpy as np
import pytest

from runners.core.errors import ExecutionFailed, InvalidInput, InvalidOutput, LoadRefused, NotReady
from runners.core.runner import ModelRef
from runners.core.tensor import Signature, Tensor, TensorSpec
from runners.fake import Answer, Compute, Fail, Fake, FakeEndpoint, Wait

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 1)),))


def given(value):
    return Answer((Tensor("y", "FP32", np.full((1, 1), value, "<f4")),))


@pytest.fixture
def request_x(ask):
    return ask(x=np.ones((1, 4), "<f4"))


async def test_a_script_is_played_one_act_a_call_and_its_last_act_for_ever(request_x, soon):
    """A test says what happens first, then, and from then on."""
    endpoint = FakeEndpoint(SIGNATURE, [given(1), Fail(ExecutionFailed("once")), given(2)])
    seen = []
    for _ in range(4):
        try:
            seen.append((await endpoint.infer(request_x, deadline_at=soon())).outputs[0].array.item())
        except ExecutionFailed as error:
            seen.append(str(error))
    assert [1, "once", 2, 2] == seen


async def test_an_answer_can_depend_on_the_request(request_x, soon):
    """A fake can be a model."""
    endpoint = FakeEndpoint(SIGNATURE, [Compute(lambda r: given(r.inputs[0].array.sum()).outputs)])
    assert 4 == (await endpoint.infer(request_x, deadline_at=soon())).outputs[0].array.item()


async def test_an_answer_can_wait_for_the_test(request_x, soon):
    """Nothing sleeps."""
    event = asyncio.Event()
    endpoint = FakeEndpoint(SIGNATURE, [Wait(event, given(1))])
    call = asyncio.create_task(endpoint.infer(request_x, deadline_at=soon()))
    await asyncio.sleep(0)
    assert not call.done()
    event.set()
    assert 1 == (await call).outputs[0].array.item()


async def test_a_broken_fake_is_not_ready(request_x, soon):
    """And can be mended."""
    endpoint = FakeEndpoint(SIGNATURE, [given(1)])
    endpoint.is_broken = True
    assert not endpoint.ready()
    with pytest.raises(NotReady):
        await endpoint.infer(request_x, deadline_at=soon())
    endpoint.is_broken = False
    assert (await endpoint.infer(request_x, deadline_at=soon())).outputs


async def test_a_bad_answer_in_a_script_is_found_out(request_x, soon):
    """A fake can break its signature and be caught like any other."""
    with pytest.raises(InvalidOutput):
        await FakeEndpoint(SIGNATURE, [given(np.nan)]).infer(request_x, deadline_at=soon())
    with pytest.raises(InvalidOutput):
        await FakeEndpoint(SIGNATURE, [Answer(())]).infer(request_x, deadline_at=soon())


async def test_every_request_is_kept(request_x, ask, soon):
    """A test can look at what came, refused or not."""
    endpoint = FakeEndpoint(SIGNATURE, [given(1)])
    await endpoint.infer(request_x, deadline_at=soon())
    with pytest.raises(InvalidInput):
        await endpoint.infer(ask(), deadline_at=soon())
    assert [1, 0] == [len(request.inputs) for request in endpoint.requests]


async def test_the_runner_opens_what_it_was_given(tmp_path):
    """And nothing else."""
    endpoint = FakeEndpoint(SIGNATURE, [given(1)])
    assert endpoint is await Fake({"fake:a": endpoint}).open(ModelRef("fake:a", tmp_path))
    with pytest.raises(LoadRefused):
        await Fake().open(ModelRef("fake:a", tmp_path))
