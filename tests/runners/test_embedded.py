"""Models in the gateway's own process."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from itertools import count
from time import monotonic

import numpy as np
import pytest

from runners import embedded
from runners.core import batching, thread
from runners.core.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InvalidInput,
    InvalidOutput,
    LoadRefused,
    NotReady,
    Overloaded,
)
from runners.core.marks import BYTES_N, Marks, running_in, sign_of
from runners.core.runner import Batching, OutputPolicy, ProviderChoice
from runners.embedded import Embedded
from runners.onnx import placement
from runners.onnx import rows as row_trial


@pytest.fixture
async def opened(ref):
    """Opens a model by its name, and closes it after the test."""
    endpoints = []

    async def open_model(name, **how):
        endpoints.append(await Embedded().open(ref(name, **how)))
        return endpoints[-1]

    yield open_model
    for endpoint in endpoints:
        await endpoint.close()


def ones(rows=1):
    return np.ones((rows, 4), "<f4")


def slow_model(monkeypatch, endpoint, *durations_s, worked_s=None):
    """Let the clocks say how long each run on the loop took; then runs take no time.

    `worked_s` is what the thread itself worked in each, by default all of it.
    """
    worked_s = durations_s if worked_s is None else worked_s
    runs = [pair for pair in zip(durations_s, worked_s, strict=True) for _ in range(2)]  # a clock is read twice a run
    reads_n = count()

    def reading(which):
        nth = next(reads_n)
        return runs[nth][which] if nth % 2 and nth < len(runs) else 0.0

    endpoint._clock, endpoint._own_clock = (lambda: reading(0)), (lambda: reading(1))
    monkeypatch.setattr(embedded, "monotonic", endpoint._clock)
    return endpoint


@pytest.mark.parametrize("rows", [1, 1000])
async def test_what_runs_is_marked_while_it_does_also_where_it_raises(ref, ask, soon, monkeypatch, rows):
    """Whoever outlives a process knows which model it ran, on the event loop or in its thread."""
    monkeypatch.setattr(placement, "LOOP_LIMIT_S", 60.0)
    page, seen = bytearray(BYTES_N), []
    endpoint = await Embedded(Marks(page)).open(ref("sum"))

    def noted(self, request, options=None):
        seen.append(running_in(page))
        raise ExecutionFailed("it raised")

    monkeypatch.setattr(embedded.OnnxSession, "run", noted)
    with pytest.raises(ExecutionFailed):
        await endpoint.infer(ask(x=ones(rows)), deadline_at=soon())
    await endpoint.close()
    assert ([{sign_of(ref("sum"))}], frozenset()) == (seen, running_in(page))


async def test_a_model_says_what_it_is(opened, ref):
    """Metadata, events and `inspect` read the same facts."""
    endpoint = await opened("sum")
    found = endpoint.description
    assert ("onnx_onnxv1", "cpu", "", found.digest[:12]) == (
        found.platform,
        found.provider,
        found.degraded,
        found.version,
    )


async def test_the_operators_word_on_the_version_counts(opened):
    """A version is what the route says it is."""
    assert "2024-11" == (await opened("sum", version="2024-11")).description.version


@pytest.mark.parametrize(("name", "on_loop"), [("sum", True), ("endless", False), ("ridged", False), ("text", False)])
async def test_where_a_model_runs_is_measured_and_told(opened, monkeypatch, name, on_loop):
    """`inspect` says where, why, and how long a run took."""
    monkeypatch.setattr(placement, "LOOP_LIMIT_S", 60.0)  # whatever this machine is busy with
    found = (await opened(name)).placement
    assert (on_loop, on_loop, True) == (found.on_loop, not found.why, found.warm_up_ms > 0)


@pytest.fixture
def tried(monkeypatch):
    """The signatures of models whose rows were tried."""
    seen = []

    def note(signature, *others, **how):
        seen.append(signature)
        return row_trial.try_rows(signature, *others, **how)

    monkeypatch.setattr(embedded, "try_rows", note)
    return seen


async def open_all(*models):
    """Opened and closed one after the other by one runner; what was found of the rows of each."""
    runner, found = Embedded(), []
    for model in models:
        endpoint = await runner.open(model)
        found.append(endpoint.rows)
        await endpoint.close()
    return found


async def test_rows_are_tried_once_for_the_same_model(ref, tried):
    """An arm that comes back is opened a third faster, and batches as it did."""
    first, again, shadow = await open_all(ref("sum"), ref("sum"), ref("sum", background=True))
    assert (1, "") == (len(tried), first.why)
    assert first == again == shadow


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"batching": Batching(max_rows=5)}),
        ({}, {"threads": 2}),
        ({"background": True}, {}),
    ],
    ids=["other bounds", "more threads", "first in a niced thread"],
)
async def test_rows_are_tried_again_where_that_might_tell_something_else(ref, tried, first, second):
    await open_all(ref("sum", **first), ref("sum", **second))
    assert 2 == len(tried)


async def test_what_keeps_rows_apart_is_not_held_against_a_model_for_ever(ref, tried, monkeypatch):
    """It may have been a bad moment of the machine."""
    monkeypatch.setattr(row_trial, "GAIN", 0.0)
    assert all(found.why for found in await open_all(ref("sum"), ref("sum")))
    assert 2 == len(tried)


async def test_only_so_many_trials_are_remembered(ref, tried, monkeypatch):
    monkeypatch.setattr(embedded, "_TRIALS_N", 1)
    other = Batching(max_rows=5)
    await open_all(ref("sum"), ref("sum", batching=other), ref("sum"))
    assert 3 == len(tried)


@pytest.fixture
def where(monkeypatch):
    """Notes the thread of every run after the load."""
    seen = []
    run = embedded.OnnxSession.run

    def noted(self, request, options=None):
        seen.append(threading.current_thread().name)
        return run(self, request, options)

    monkeypatch.setattr(embedded.OnnxSession, "run", noted)
    monkeypatch.setattr(placement, "LOOP_LIMIT_S", 60.0)
    return seen


async def test_a_small_request_runs_on_the_loop_and_a_large_one_does_not(opened, ask, soon, where):
    """Nobody waits for somebody else's batch."""
    endpoint = await opened("sum")
    where.clear()
    for rows in (1, 8, 9):
        await endpoint.infer(ask(x=ones(rows)), deadline_at=soon())
    assert ["MainThread", "MainThread", "file:sum.onnx"] == where


async def test_a_background_model_never_runs_on_the_loop(opened, ask, soon, where):
    """A shadow delays nobody."""
    endpoint = await opened("sum", background=True)
    where.clear()
    await endpoint.infer(ask(x=ones()), deadline_at=soon())
    assert ["file:sum.onnx"] == where


async def test_a_background_model_is_niced(opened):
    """What answers a client goes first."""
    endpoint = await opened("sum", background=True)

    def own_niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = await endpoint._batcher._engine._thread.run(own_niceness, lambda: None, deadline_at=monotonic() + 30)
    assert os.getpriority(os.PRIO_PROCESS, 0) + 10 == own


async def test_three_slow_runs_in_a_row_move_a_model_to_its_thread_for_good(opened, ask, soon, where, monkeypatch):
    """A model that turned out slow keeps nobody waiting twice."""
    endpoint = slow_model(monkeypatch, await opened("sum"), 0.002, 0.002, 0.002)
    where.clear()
    for _ in range(5):
        await endpoint.infer(ask(x=ones()), deadline_at=soon())
    assert ["MainThread"] * 3 + ["file:sum.onnx"] * 2 == where
    assert (False, "3 runs in a row took longer than 1 ms") == (endpoint.placement.on_loop, endpoint.placement.why)


async def test_a_slow_run_now_and_then_is_the_machines_doing(opened, ask, soon, where, monkeypatch):
    """One hiccup does not cost thirty microseconds for ever."""
    endpoint = slow_model(monkeypatch, await opened("sum"), 0.002, 0.002, 0.0001, 0.002, 0.002)
    where.clear()
    for _ in range(6):
        await endpoint.infer(ask(x=ones()), deadline_at=soon())
    assert ["MainThread"] * 6 == where


async def test_runs_for_which_the_machine_had_no_time_are_not_the_models_doing(opened, ask, soon, where, monkeypatch):
    """On a busy machine many runs in a row take long, and a small model stays where it is quickest nevertheless."""
    endpoint = slow_model(monkeypatch, await opened("sum"), *[0.002] * 5, worked_s=[0.0001] * 5)
    where.clear()
    for _ in range(6):
        await endpoint.infer(ask(x=ones()), deadline_at=soon())
    assert (["MainThread"] * 6, True) == (where, endpoint.placement.on_loop)


async def test_inputs_that_do_not_fit_are_refused_before_the_runtime_sees_them(opened, ask, soon):
    """A client's mistake is a client's mistake."""
    with pytest.raises(InvalidInput, match=r"input 'x' has shape \[1, 5\], the model takes \[-1, 4\]"):
        await (await opened("sum")).infer(ask(x=np.ones((1, 5), "<f4")), deadline_at=soon())


async def test_texts_that_are_not_utf8_are_the_callers_fault(opened, ask, soon):
    """Also when it turns out in the model's thread."""
    with pytest.raises(InvalidInput, match="not UTF-8"):
        await (await opened("text")).infer(ask(x=np.array([b"\xff"], dtype=object)), deadline_at=soon())


async def test_a_model_that_raises_has_failed(opened, ask, soon):
    """A failure that a fallback can cure."""
    with pytest.raises(ExecutionFailed, match="out of data bounds"):
        await (await opened("fussy")).infer(ask(x=np.array([9], "<i8")), deadline_at=soon())


@pytest.mark.parametrize(("x", "policy"), [(np.nan, "reject"), (0.0, "reject")])
async def test_nan_and_infinity_do_not_go_out_where_they_are_rejected(opened, ask, soon, x, policy):
    """log(0) is minus infinity, log(NaN) is NaN."""
    endpoint = await opened("log", outputs=OutputPolicy(nan=policy))
    with pytest.raises(InvalidOutput, match="output 'y' holds NaN or Inf"):
        await endpoint.infer(ask(x=np.full((1, 2), x, "<f4")), deadline_at=soon())


async def test_nan_goes_out_where_it_may(opened, ask, soon):
    """A model whose NaN means something keeps it."""
    endpoint = await opened("log", outputs=OutputPolicy(nan="pass"))
    answer = await endpoint.infer(ask(x=np.full((1, 2), np.nan, "<f4")), deadline_at=soon())
    assert np.isnan(answer.outputs[0].array).all()


async def test_an_answer_of_the_wrong_shape_does_not_go_out(opened, ask, soon):
    """A model that breaks its signature has failed."""
    with pytest.raises(InvalidOutput, match=r"output 'y' has shape \[2, 2\], expected \[1, 2\]"):
        await (await opened("liar")).infer(ask(x=np.ones((1, 2), "<f4")), deadline_at=soon())


async def test_a_range_that_was_declared_is_kept(opened, ask, soon):
    """A score of 4 does not go out where scores end at 3."""
    endpoint = await opened("sum", outputs=OutputPolicy(ranges=(("y", 0.0, 3.0),)))
    with pytest.raises(InvalidOutput, match="expected within"):
        await endpoint.infer(ask(x=ones()), deadline_at=soon())


async def test_a_run_that_was_stopped_leaves_the_model_well(opened, ask, soon):
    """After a deadline the next caller is served."""
    endpoint = await opened("endless")
    with pytest.raises(DeadlineExceeded):
        await endpoint.infer(ask(x=ones()), deadline_at=soon(0.05))
    answer = await endpoint.infer(ask(x=-ones()), deadline_at=soon())
    assert [[-1.0] * 4] == answer.outputs[0].array.tolist()


async def test_a_full_queue_is_told_at_once(opened, ask, soon, monkeypatch):
    """Whoever would only wait in vain is told so now."""
    monkeypatch.setattr(embedded, "DEFAULT_LIMIT_N", 1)
    endpoint = await opened("endless")
    running = asyncio.create_task(endpoint.infer(ask(x=ones()), deadline_at=soon()))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await endpoint.infer(ask(x=ones()), deadline_at=soon())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_model_that_does_not_stop_is_not_ready(opened, ask, soon, monkeypatch):
    """Calls to it fail at once, and fallbacks have all their time."""
    endpoint = await opened("endless")
    monkeypatch.setattr(endpoint._batcher._engine, "is_stuck", lambda: True)
    assert not endpoint.ready()
    with pytest.raises(NotReady, match="told to stop and does not"):
        await endpoint.infer(ask(x=ones()), deadline_at=soon())


async def test_a_model_is_held_to_its_golden_requests(ref, opened, tmp_path):
    """The wrong file never serves."""
    case = {
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}],
        "outputs": [{"name": "y", "shape": [1, 1], "datatype": "FP32", "data": [10]}],
    }
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps([case]))
    await opened("sum", golden=golden)
    case["outputs"][0]["data"] = [11]
    golden.write_text(json.dumps([case]))
    with pytest.raises(LoadRefused, match=r"output 'y' at \[0, 0\] is 10.0, expected 11.0 within 0.0001"):
        await opened("sum", golden=golden)


async def test_a_model_that_cannot_run_zeros_needs_a_golden_request(opened):
    """Something must have been run before a client asks."""
    with pytest.raises(LoadRefused, match=r"could not be run with made-up inputs: Gather: .* golden request"):
        await opened("barren")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"provider": ProviderChoice("cuda", "require")}, "provider 'cuda'"),
        ({"threads": -1}, "cannot have -1 threads"),
        ({"outputs": OutputPolicy(ranges=(("z", 0, 1),))}, "the model has no such output"),
    ],
)
async def test_a_model_that_cannot_be_opened_as_asked_is_refused(opened, how, why):
    """An operator hears of a mistake before a client does."""
    with pytest.raises(LoadRefused, match=why):
        await opened("sum", **how)


async def test_a_load_that_takes_too_long_is_given_up(opened, monkeypatch):
    """A model that never loads does not hold up a revision."""
    monkeypatch.setitem(
        embedded.PROVIDERS, "cpu", embedded.PROVIDERS["cpu"].__class__("CPUExecutionProvider", load_limit_s=0.0)
    )
    with pytest.raises(LoadRefused, match=r"file:sum.onnx: took longer than 0 s to load"):
        await opened("sum")


async def test_a_refused_load_leaves_no_thread_behind(opened):
    """A bad file can be tried a thousand times."""
    before = set(threading.enumerate())  # one of them may be another test's, and end meanwhile
    for _ in range(3):
        with pytest.raises(LoadRefused):
            await opened("sum", threads=-1)
    left = [each for each in set(threading.enumerate()) - before if not each.name.startswith("asyncio_")]  # the pool's
    for each in left:
        each.join(10)  # it has said that it ends, and may be about to
    assert [] == [each.name for each in left if each.is_alive()]


async def test_a_closed_model_is_gone_at_once(opened):
    """What the runtime holds is not Python's memory: its collector would see no reason to come."""
    endpoint = await opened("sum")
    session = weakref.ref(endpoint._session)
    gc.disable()
    try:
        await endpoint.close()
        assert session() is None
    finally:
        gc.enable()


async def test_a_closed_model_lets_go_of_its_memory(opened):
    """A model that was replaced does not stay."""
    endpoint = await opened("sum")
    await endpoint.close()
    assert (None, False) == (endpoint._session, endpoint.ready())


def test_a_process_can_end_while_a_model_runs(model_file):
    """A gateway that nobody closed properly still ends in order."""
    script = f"""
import asyncio, numpy
from pathlib import Path
from time import monotonic
from runners.core.runner import ModelRef
from runners.core.tensor import InferenceRequest, Tensor
from runners.embedded import Embedded

async def main():
    endpoint = await Embedded().open(ModelRef("file:endless.onnx", Path({str(model_file("endless").parent)!r})))
    request = InferenceRequest("m", (Tensor("x", "FP32", numpy.ones((1, 4), "<f4")),))
    call = asyncio.create_task(endpoint.infer(request, deadline_at=monotonic() + 100))
    await asyncio.sleep(0.05)

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (ended.returncode, ended.stderr)


async def test_the_queue_is_longer_where_calls_share_runs(opened, monkeypatch):
    """As many as are answered in some time, not as many as are run."""
    monkeypatch.setattr(row_trial, "GAIN", float("inf"))
    bounds = [(await opened(name))._batcher._limits for name in ("sum", "endless")]
    assert [(64, batching.WAITING_N), (1, thread.DEFAULT_LIMIT_N)] == [(b.max_rows, b.waiting_n) for b in bounds]


@pytest.mark.parametrize(("how", "runs"), [({}, 1), ({"batching": Batching(max_rows=1)}, 3)])
async def test_calls_that_meet_in_the_thread_share_a_run(opened, ask, soon, monkeypatch, how, runs):
    """Unless the operator says otherwise; the answers are the same."""
    monkeypatch.setattr(row_trial, "GAIN", float("inf"))
    endpoint = await opened("sum", background=True, **how)
    batches = [np.full((n, 4), n, "<f4") for n in (1, 9, 2)]
    found = await asyncio.gather(*(endpoint.infer(ask(x=x), deadline_at=soon()) for x in batches))
    assert [x.sum(1, keepdims=True).tolist() for x in batches] == [f.outputs[0].array.tolist() for f in found]
    assert runs == sum(endpoint.batch_counts.calls.cells[:-1])
    assert isinstance(endpoint, batching.Batches)


async def test_an_answer_that_is_rejected_is_its_callers_alone(opened, ask, soon, monkeypatch):
    """NaN in one row is no fault of the others' in the run."""
    monkeypatch.setattr(row_trial, "GAIN", float("inf"))
    endpoint = await opened("log", background=True, batching=Batching(tolerance=0.001))
    calls = [endpoint.infer(ask(x=np.full((1, 2), x, "<f4")), deadline_at=soon()) for x in (1.0, -1.0, 1.0)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [False, True, False] == [isinstance(each, InvalidOutput) for each in found]
    assert 3 == found[0].batch_rows
