"""Batches in a real session and a real thread, with models that really fail."""

import asyncio
import threading
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from runners.core import thread as thread_module
from runners.core.batch_counts import BatchCounts
from runners.core.batching import Batcher, Limits
from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidInput
from runners.core.marks import unseen
from runners.core.runner import ProviderChoice
from runners.core.tensor import InferenceRequest, Tensor
from runners.core.thread import ModelThread
from runners.onnx.engine import SessionEngine
from runners.onnx.session import load_model, session_options

FAULTS = Path(__file__).parents[3] / "examples" / "faults"


@pytest.fixture
async def opened():
    """Opens a model at a path behind a batcher that joins whatever comes."""
    batchers = []

    def open_model(path):
        session = load_model(path, ProviderChoice(), threads=1, options=session_options()).session
        batchers.append(Batcher("test", SessionEngine(session, ModelThread("test"), unseen()), Limits(), BatchCounts()))
        return batchers[-1]

    yield open_model
    for batcher in batchers:
        await batcher.close()


async def asked(batcher, requests, deadlines_s=()):
    calls = [
        batcher.infer(request, deadline_at=monotonic() + (deadlines_s[place] if deadlines_s else 60))
        for place, request in enumerate(requests)
    ]
    return await asyncio.gather(*calls, return_exceptions=True)


def y_of(answer):
    return answer.outputs[0].array.tolist()


async def test_calls_share_a_run_in_the_models_thread(opened, model_file, ask):
    """And each gets its own rows."""
    batches = [np.full((rows, 4), rows, "<f4") for rows in (1, 3, 2)]
    found = await asked(opened(model_file("sum")), [ask(x=x) for x in batches])
    assert ([6] * 3, [x.sum(1, keepdims=True).tolist() for x in batches]) == (
        [answer.batch_rows for answer in found],
        [y_of(answer) for answer in found],
    )


async def test_texts_share_a_run_and_one_that_is_none_fails_alone(opened, model_file, ask):
    """Bytes that are not UTF-8 are their caller's fault and nobody else's."""
    texts = [b"one", b"\xff", "zwölf".encode()]
    found = await asked(opened(model_file("text")), [ask(x=np.array([text], dtype=object)) for text in texts])
    assert ([b"one"], InvalidInput, ["zwölf".encode()]) == (y_of(found[0]), type(found[1]), y_of(found[2]))


async def test_a_row_that_the_model_raises_on_fails_alone(opened, model_file, ask):
    """A look-up beyond the table, among some that are within."""
    found = await asked(opened(model_file("fussy")), [ask(x=np.array([n], "<i8")) for n in (0, 1, 9, 2)])
    assert isinstance(found[2], ExecutionFailed)
    assert [[1.0], [2.0], [3.0]] == [y_of(found[n]) for n in (0, 1, 3)]


def pixels(*, hangs):
    """A blank digit, or one that `hangs-sometimes.onnx` hangs on."""
    x = np.zeros((1, 64), "<f4")
    x[0, 0] = 16 if hangs else 0
    return InferenceRequest("m", (Tensor("pixels", "FP32", x),), ("label",))


async def test_a_model_that_hangs_keeps_nobody_beyond_their_deadline(opened):
    """The run is stopped, and the model serves again."""
    batcher = opened(FAULTS / "hangs-sometimes.onnx")
    found = await asked(batcher, [pixels(hangs=True), pixels(hangs=True)], (0.05, 0.1))
    assert [DeadlineExceeded] * 2 == [type(each) for each in found]
    (answer,) = await asked(batcher, [pixels(hangs=False)])
    assert 1 == answer.batch_rows


async def test_one_row_that_hangs_leaves_its_neighbours_their_time(opened):
    """The run is stopped at the hanging caller's deadline, and the others are run without it."""
    batcher = opened(FAULTS / "hangs-sometimes.onnx")
    found = await asked(batcher, [pixels(hangs=place == 1) for place in range(3)], (60, 0.5, 60))
    assert isinstance(found[1], DeadlineExceeded)
    (alone,) = await asked(batcher, [pixels(hangs=False)])
    assert [y_of(alone)] * 2 == [y_of(found[0]), y_of(found[2])]


async def test_a_run_that_does_not_listen_makes_the_model_unready(opened, monkeypatch):
    """Until it ends."""
    batcher = opened(FAULTS / "hangs-sometimes.onnx")
    engine, released = batcher._engine, threading.Event()
    submit = engine._thread.submit
    monkeypatch.setattr(engine._thread, "submit", lambda _, stop, done: submit(released.wait, stop, done))
    await asked(batcher, [pixels(hangs=False)], (0.05,))
    monkeypatch.setattr(thread_module, "STUCK_AFTER_S", 0.0)
    assert not batcher.ready()
    released.set()
    while not batcher.ready():
        await asyncio.sleep(0.001)
