"""The batcher: who meets at a busy model is run together, and nobody can tell."""

import asyncio
import gc
import weakref
from time import monotonic

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.core import batching
from runners.core.batch import Ran
from runners.core.batch_counts import BatchCounts
from runners.core.batching import Batcher, Limits
from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidInput, NotReady, Overloaded
from runners.core.tensor import DATATYPES, InferenceRequest, Tensor

NAN = float("nan")


def doubled(request):
    """Two outputs of each input: twice its rows, and how many elements each row has."""
    outputs = []
    for tensor in sorted(request.inputs, key=lambda tensor: tensor.name):
        array = tensor.array
        outputs.append(Tensor(f"double {tensor.name}", tensor.datatype, array + array))
        elements_n = np.full(len(array), array[:1].size, "<i8")
        outputs.append(Tensor(f"size {tensor.name}", "INT64", elements_n))
    chosen = {tensor.name: tensor for tensor in outputs}
    return tuple(chosen[name] for name in request.outputs) if request.outputs else tuple(outputs)


class Engine:
    """Runs `model` when the loop comes round, or when `go` is called if it is `held`; keeps what it was given."""

    def __init__(self, model=doubled, *, held=False):
        self.model = model
        self.held = held
        self.ran = []  # the joined requests
        self.stops_n = 0
        self.stuck = False
        self.begun = asyncio.Event()
        self._batch = self._done = None

    def start(self, batch, done):
        assert self._batch is None, "one run at a time"
        self._batch, self._done = batch, done
        self.begun.set()
        if not self.held:
            asyncio.get_running_loop().call_soon(self.go)
        return self.stop

    def go(self):
        batch, done = self._batch, self._done
        self._batch = self._done = None
        try:
            request = batch.join()
            self.ran.append(request)
            outcome, error = Ran(batch.calls, batch.deal(self.model(request))), None
        except Exception as failure:
            outcome, error = None, failure
        done(outcome, error)

    def stop(self):
        self.stops_n += 1

    def end(self, error):
        """The run ends with `error`, whatever it was doing."""
        done = self._done
        self._batch = self._done = None
        done(None, error)

    def is_stuck(self):
        return self.stuck

    async def close(self):
        self.held = False

    @property
    def rows(self):
        return [len(request.inputs[0].array) for request in self.ran]


def ask(x, *outputs, name="x", datatype="FP32"):
    return InferenceRequest("m", (Tensor(name, datatype, np.asarray(x, DATATYPES[datatype].numpy)),), outputs)


def row(number):
    return ask([[number, number]])


def soon(seconds=30.0):
    return monotonic() + seconds


def made(engine, **limits):
    return Batcher("file:m.onnx", engine, Limits(**limits), BatchCounts())


async def answers(batcher, requests):
    calls = [batcher.infer(request, deadline_at=soon()) for request in requests]
    return await asyncio.gather(*calls, return_exceptions=True)


def first_of(answer):
    return answer.outputs[0].array.tolist()


async def test_calls_that_come_while_the_engine_is_busy_are_run_together():
    """The busier the model, the larger its batches."""
    engine = Engine(held=True)
    batcher = made(engine)
    first = asyncio.create_task(batcher.infer(row(0), deadline_at=soon()))
    await engine.begun.wait()
    others = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    engine.held = False
    engine.go()
    found = await asyncio.gather(first, *others)
    assert [1, 3] == engine.rows
    assert [[[2.0 * n] * 2] for n in range(4)] == [first_of(answer) for answer in found]


async def test_calls_of_one_turn_of_the_loop_are_run_together():
    """What one packet brought is not taken apart."""
    engine = Engine()
    await answers(made(engine), [row(n) for n in range(5)])
    assert [5] == engine.rows


async def test_a_caller_alone_waits_for_nobody():
    """Nothing is held back to make a batch larger."""
    engine = Engine()
    answer = await made(engine).infer(row(1), deadline_at=soon())
    assert ([1], 1) == (engine.rows, answer.batch_rows)


async def test_a_batch_has_no_more_rows_than_it_may():
    """And whoever does not fit in is next."""
    engine = Engine()
    await answers(made(engine, max_rows=8), [ask(np.ones((n, 2))) for n in (3, 3, 3, 9, 1, 1)])
    assert [6, 3, 9, 2] == engine.rows


async def test_a_batch_has_no_more_bytes_than_it_may(monkeypatch):
    """Large tensors are not copied without a bound."""
    monkeypatch.setattr(batching, "BATCH_BYTES", 16)
    engine = Engine()
    await answers(made(engine), [row(n) for n in range(5)])
    assert [2, 2, 1] == engine.rows


async def test_with_one_row_at_most_every_call_is_run_by_itself():
    """`off` is off."""
    engine = Engine()
    await answers(made(engine, max_rows=1), [row(1), ask(np.ones((5, 2))), row(2)])
    assert [1, 5, 1] == engine.rows


async def test_only_what_is_alike_is_run_together():
    """Other names, datatypes and shapes wait for their own run, in the order they came."""
    engine = Engine()
    requests = [
        ask([[1]]),
        ask([[1]], datatype="FP64"),
        ask([[1, 1]]),
        ask([[1]], name="y"),
        ask([[2]]),
        ask([[2, 2]]),
    ]
    found = await answers(made(engine), requests)
    assert [2, 1, 2, 1] == engine.rows
    assert [[[2]], [[2]], [[2, 2]], [[2]], [[4]], [[4, 4]]] == [first_of(answer) for answer in found]


async def test_inputs_that_do_not_agree_on_their_rows_are_run_by_themselves():
    """Otherwise the rows after them would be somebody else's."""
    engine = Engine(lambda request: (Tensor("y", "FP32", request.inputs[0].array),))
    uneven = InferenceRequest(
        "m", (Tensor("a", "FP32", np.ones((1, 1), "<f4")), Tensor("b", "FP32", np.ones((2, 1), "<f4")))
    )
    even = InferenceRequest(
        "m", (Tensor("a", "FP32", np.ones((1, 1), "<f4")), Tensor("b", "FP32", np.ones((1, 1), "<f4")))
    )
    await answers(made(engine), [even, uneven, uneven, even])
    assert [2, 1, 1] == engine.rows


async def test_inputs_may_come_in_any_order():
    """Columns are matched by name."""
    engine = Engine(
        lambda request: (Tensor("y", "FP32", {t.name: t.array for t in request.inputs}["a"]),),
    )
    a, b = Tensor("a", "FP32", np.zeros((1, 1), "<f4")), Tensor("b", "FP32", np.ones((1, 1), "<f4"))
    found = await answers(made(engine), [InferenceRequest("m", (a, b)), InferenceRequest("m", (b, a))])
    assert ([2], [[[0.0]], [[0.0]]]) == (engine.rows, [first_of(answer) for answer in found])


async def test_everybody_gets_the_outputs_they_asked_for():
    """The run gives what anybody wants, each caller what they want, in their order."""
    engine = Engine()
    wanted = [("double x",), ("size x", "double x"), ("size x",)]
    found = await answers(made(engine), [ask([[1, 1]], *names) for names in wanted])
    assert wanted == [tuple(tensor.name for tensor in answer.outputs) for answer in found]
    assert [("double x", "size x")] == [request.outputs for request in engine.ran]


async def test_whoever_asks_for_all_outputs_gets_all():
    """Also beside one who asks for less."""
    found = await answers(made(Engine()), [ask([[1, 1]], "size x"), ask([[1, 1]])])
    assert [1, 2] == [len(answer.outputs) for answer in found]


async def test_the_memory_of_a_batch_is_not_kept_by_one_of_its_rows():
    """An answer that is kept for a comparison is as large as it looks."""
    found = await answers(made(Engine()), [row(n) for n in range(3)])
    assert [None] * 3 == [answer.outputs[0].array.base for answer in found]


@pytest.mark.parametrize("error", [ExecutionFailed, InvalidInput])
async def test_a_bad_call_fails_alone(error):
    """Whoever was run with it does not notice."""

    def picky(request):
        if np.isnan(request.inputs[0].array).any():
            raise error("this row")
        return doubled(request)

    engine = Engine(picky)
    batcher = made(engine)
    found = await answers(batcher, [row(NAN if n == 11 else n) for n in range(16)])
    assert [error] == [type(answer) for answer in found if isinstance(answer, Exception)]
    assert isinstance(found[11], error)
    assert [[[2.0 * n] * 2] for n in range(16) if n != 11] == [first_of(a) for n, a in enumerate(found) if n != 11]
    assert (4, 9) == (batcher._counts.bisections_n, len(engine.ran))  # log2(16) halvings, of two runs each


@pytest.mark.parametrize("calls_n", [1, 2, 7, 16])
async def test_a_model_that_always_fails_is_asked_twice_as_often_as_alone_at_most(calls_n):
    """Looking for the culprit has an end."""

    def broken(request):
        raise ExecutionFailed("always")

    engine = Engine(broken)
    found = await answers(made(engine), [row(n) for n in range(calls_n)])
    assert [ExecutionFailed] * calls_n == [type(answer) for answer in found]
    assert 2 * calls_n - 1 == len(engine.ran)


async def test_every_caller_gets_an_error_of_their_own():
    """Tracebacks do not add up."""

    def stopped(request):
        raise DeadlineExceeded("stopped")

    found = await answers(made(Engine(stopped)), [row(1), row(2)])
    assert ("stopped", "stopped", False) == (str(found[0]), str(found[1]), found[0] is found[1])


@pytest.mark.parametrize("output", [np.ones((3, 1), "<f4"), np.ones((1, 2), "<f4"), np.float32(1)])
async def test_a_model_that_loses_rows_is_run_one_by_one_from_then_on(output, caplog):
    """Nobody is given a row that may be somebody else's, and the log says why."""

    def summing(request):
        if len(request.inputs[0].array) == 1:
            return doubled(request)
        return (Tensor("y", "FP32", np.asarray(output)),)

    engine = Engine(summing)
    batcher = made(engine)
    found = await answers(batcher, [row(n) for n in range(4)])
    assert [[[2.0 * n] * 2] for n in range(4)] == [first_of(answer) for answer in found]
    assert [4, 1, 1, 1, 1] == engine.rows
    assert (False, True) == (batcher.together, "for 4 rows" in batcher.apart_because)
    assert "file:m.onnx: calls are run one by one from now on: output 'y' has shape" in caplog.text
    await answers(batcher, [row(n) for n in range(2)])
    assert [1, 1] == engine.rows[5:]


async def test_an_expired_call_is_never_run():
    """A queue of the dead is not worked off."""
    engine = Engine(held=True)
    batcher = made(engine)
    first = asyncio.create_task(batcher.infer(row(0), deadline_at=soon()))
    await engine.begun.wait()
    late = asyncio.create_task(batcher.infer(row(1), deadline_at=soon(0.01)))
    patient = asyncio.create_task(batcher.infer(row(2), deadline_at=soon()))
    with pytest.raises(DeadlineExceeded):
        await late
    engine.held = False
    engine.go()
    await asyncio.gather(first, patient)
    assert [[[0, 0]], [[2, 2]]] == [request.inputs[0].array.tolist() for request in engine.ran]


async def test_what_expires_in_the_queue_is_counted():
    """What expires in a run is not: the model has been asked."""
    engine = Engine(held=True)
    batcher = made(engine)
    running = asyncio.create_task(batcher.infer(row(0), deadline_at=soon()))
    await engine.begun.wait()
    waiting = asyncio.create_task(batcher.infer(row(1), deadline_at=soon()))
    await asyncio.sleep(0)
    for call in tuple(batcher._pending):
        batcher._expire(call)
    found = await asyncio.gather(running, waiting, return_exceptions=True)
    assert ([DeadlineExceeded] * 2, 1) == ([type(each) for each in found], batcher._counts.expired_n)


async def test_a_call_whose_timer_is_late_takes_no_place_in_a_batch():
    """A loop that is too busy for its timers does not run smaller batches for it."""
    engine = Engine(held=True)
    batcher = made(engine, max_rows=2)
    calls = [asyncio.create_task(batcher.infer(row(0), deadline_at=soon()))]
    await engine.begun.wait()
    calls += [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    next(iter(batcher._waiting)).deadline_at = monotonic()
    engine.held = False
    engine.go()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert ([1, 2], DeadlineExceeded) == (engine.rows, type(found[1]))
    assert 1 == batcher._counts.expired_n


async def test_halves_that_nobody_waits_for_are_not_run():
    """Callers may leave while the culprit is looked for."""

    def broken(request):
        raise ExecutionFailed("always")

    engine = Engine(broken, held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(4)]
    await engine.begun.wait()
    engine.go()
    assert [0.0, 1.0] == [call.request.inputs[0].array[0, 0] for call in engine._batch.calls]  # who came first is first
    for call in calls[2:]:
        call.cancel()
    await asyncio.sleep(0)
    engine.held = False
    engine.go()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [4, 2, 1, 1] == engine.rows
    assert engine._batch is None


async def test_a_call_that_expires_on_the_way_to_the_engine_takes_no_part():
    """Also when the loop was too busy to notice."""
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(2)]
    await engine.begun.wait()
    engine._batch.calls[1].deadline_at = monotonic()
    engine.go()
    assert ([1], [[0.0, 0.0]]) == (engine.rows, first_of(await calls[0]))
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_deadline_is_kept_whatever_the_engine_does():
    """A hanging model keeps nobody waiting."""
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [batcher.infer(row(n), deadline_at=soon(0.02 * n)) for n in (1, 2, 3)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [DeadlineExceeded] * 3 == [type(each) for each in found]


async def test_a_run_is_stopped_once_nobody_waits_for_it():
    """And not before."""
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(2)]
    await engine.begun.wait()
    calls[0].cancel()
    await asyncio.sleep(0)
    assert 0 == engine.stops_n
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert 1 == engine.stops_n


async def test_a_caller_who_leaves_takes_nothing_from_the_others():
    """Neither while it waits nor while it runs."""
    engine = Engine(held=True)
    batcher = made(engine)
    running = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(3)]
    await engine.begun.wait()
    waiting = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(3, 6)]
    await asyncio.sleep(0)
    running[1].cancel()
    waiting[1].cancel()
    await asyncio.sleep(0)
    engine.held = False
    engine.go()
    found = await asyncio.gather(*running, *waiting, return_exceptions=True)
    assert [0.0, None, 4.0, 6.0, None, 10.0] == [
        None if isinstance(each, asyncio.CancelledError) else first_of(each)[0][0] for each in found
    ]
    assert [2, 2] == engine.rows


async def test_a_run_that_hangs_is_stopped_for_those_whose_time_is_not_up(monkeypatch):
    """One row that hangs does not take its neighbours' time as well."""
    monkeypatch.setattr(batching, "OVERDUE_S", 0.0)
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(3)]
    await engine.begun.wait()
    batcher._expire(engine._batch.calls[0])
    with pytest.raises(DeadlineExceeded):
        await calls[0]
    assert 1 == engine.stops_n
    engine.held = False
    engine.end(DeadlineExceeded("the run was stopped"))
    assert [[[2.0, 2.0]], [[4.0, 4.0]]] == [first_of(answer) for answer in await asyncio.gather(*calls[1:])]


def fault_of(answer):
    """Which run a call was in, whether that was lost as a whole, and whether the model was asked at all."""
    return answer.run, getattr(answer, "loses_run", False), getattr(answer, "is_untried", False)


@pytest.mark.parametrize("calls_n", [1, 3])
async def test_a_run_that_hangs_is_one_fault_however_many_were_in_it(monkeypatch, calls_n):
    """All who expire in it say the same run, and that it was lost; those who never got into it say that, too."""
    monkeypatch.setattr(batching, "OVERDUE_S", 0.0)
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(calls_n)]
    await engine.begun.wait()
    waiting = asyncio.create_task(batcher.infer(row(9), deadline_at=soon()))
    await asyncio.sleep(0)
    for call in [*engine._batch.calls, *batcher._waiting]:
        batcher._expire(call)
    found = await asyncio.gather(*calls, waiting, return_exceptions=True)
    assert [(1, True, False)] * calls_n + [(0, False, True)] == [fault_of(error) for error in found]


async def test_a_bad_call_is_at_fault_itself_and_its_neighbours_tell_of_one_run():
    """What fails alone is no fault of the run that it was in first."""

    def picky(request):
        if (request.inputs[0].array == 2).any():
            raise ExecutionFailed("two")
        return doubled(request)

    found = await answers(made(Engine(picky)), [row(n) for n in range(4)])
    assert [(1, False, False)] * 4 == [fault_of(answer) for answer in found]
    assert [2] == [n for n, answer in enumerate(found) if isinstance(answer, ExecutionFailed)]


async def test_a_call_whose_own_time_was_short_loses_no_run(monkeypatch):
    monkeypatch.setattr(batching, "OVERDUE_S", 30.0)
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(2)]
    await engine.begun.wait()
    batcher._expire(engine._batch.calls[0])
    engine.go()
    short, patient = await asyncio.gather(*calls, return_exceptions=True)
    assert [(1, False, False)] * 2 == [fault_of(short), fault_of(patient)]


async def test_a_run_that_the_engine_loses_is_lost_for_all():
    """A socket broke, a device went: each caller hears it, as the loss of one run."""
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(3)]
    await engine.begun.wait()
    engine.end(NotReady("gone"))
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [(1, True, False)] * 3 == [fault_of(error) for error in found]


async def test_what_was_refused_says_nothing_of_the_model():
    engine = Engine(held=True)
    batcher = made(engine, waiting_n=1)
    first = asyncio.create_task(batcher.infer(row(1), deadline_at=soon()))
    await engine.begun.wait()
    refused = []
    for deadline_at in (soon(), 0.0):
        with pytest.raises((Overloaded, DeadlineExceeded)) as caught:
            await batcher.infer(row(2), deadline_at=deadline_at)
        refused.append(caught.value)
    await batcher.close()
    refused += await asyncio.gather(first, return_exceptions=True)
    assert [True] * 3 == [error.is_untried for error in refused]


async def test_a_slow_run_is_not_stopped_for_one_whose_time_is_up(monkeypatch):
    """A model that is merely slow gets to its end."""
    monkeypatch.setattr(batching, "OVERDUE_S", 30.0)
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(2)]
    await engine.begun.wait()
    batcher._expire(engine._batch.calls[0])
    with pytest.raises(DeadlineExceeded):
        await calls[0]
    assert 0 == engine.stops_n
    engine.go()
    assert [[2.0, 2.0]] == first_of(await calls[1])


async def test_a_full_queue_refuses_at_once():
    """Whoever would only wait in vain is told so now."""
    engine = Engine(held=True)
    batcher = made(engine, waiting_n=3)
    calls = [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(3)]
    await engine.begun.wait()
    with pytest.raises(Overloaded):
        await batcher.infer(row(3), deadline_at=soon())
    engine.go()
    await asyncio.gather(*calls)
    engine.held = False
    await batcher.infer(row(4), deadline_at=soon())


async def test_what_has_expired_makes_room():
    """The bound is on what waits, not on what once did."""
    engine = Engine(held=True)
    batcher = made(engine, waiting_n=2)
    for _ in range(3):
        calls = [batcher.infer(row(n), deadline_at=soon(0.01)) for n in range(2)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [DeadlineExceeded] * 2 == [type(each) for each in found]
    assert 0 == len(batcher._waiting)


async def test_a_stuck_engine_is_told_at_once():
    """Calls to a model that hangs for good fail at once, and not each at its deadline."""
    engine = Engine()
    batcher = made(engine)
    engine.stuck = True
    assert not batcher.ready()
    with pytest.raises(NotReady):
        await batcher.infer(row(1), deadline_at=soon())


async def test_a_deadline_that_has_passed_is_refused_at_once():
    """Late work is not begun."""
    engine = Engine()
    with pytest.raises(DeadlineExceeded):
        await made(engine).infer(row(1), deadline_at=monotonic())
    assert [] == engine.ran


async def test_closing_fails_all_that_run_and_wait():
    """Nobody waits for a model that is gone."""
    engine = Engine(held=True)
    batcher = made(engine)
    calls = [asyncio.create_task(batcher.infer(row(1), deadline_at=soon()))]
    await engine.begun.wait()
    calls += [asyncio.create_task(batcher.infer(row(n), deadline_at=soon())) for n in range(2)]
    await asyncio.sleep(0)
    await batcher.close()
    await batcher.close()
    found = await asyncio.gather(*calls, return_exceptions=True)
    engine.go()
    assert ([NotReady] * 3, False) == ([type(each) for each in found], batcher.ready())
    with pytest.raises(NotReady):
        await batcher.infer(row(1), deadline_at=soon())
    assert 0 == sum(engine.rows)


async def test_a_first_call_may_be_held_back_for_others():
    """Where an operator would rather have larger batches."""
    engine = Engine()
    batcher = made(engine, max_rows=2, max_wait_s=600.0)
    first = asyncio.create_task(batcher.infer(row(1), deadline_at=soon()))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [] == engine.ran
    await asyncio.gather(first, batcher.infer(row(2), deadline_at=soon()))
    assert [2] == engine.rows


async def test_nobody_is_held_back_longer_than_that():
    """Whether others come or not."""
    engine = Engine()
    await made(engine, max_wait_s=0.01).infer(row(1), deadline_at=soon())
    assert [1] == engine.rows


async def test_a_full_batch_is_not_held_back():
    """There is nothing left to wait for."""
    engine = Engine()
    batcher = made(engine, max_rows=4, max_wait_s=600.0)
    await answers(batcher, [row(n) for n in range(4)])
    assert [4] == engine.rows


async def test_sizes_are_counted():
    """An operator sees how large batches are."""
    engine = Engine()
    batcher = made(engine, max_rows=4)
    await answers(batcher, [ask(np.ones((2, 2)))] * 3)
    counts = batcher._counts
    assert ([0, 1, 1, 0], 6) == (counts.rows.cells[:4], counts.rows.cells[-1])
    assert ([1, 1, 0, 0], 3) == (counts.calls.cells[:4], counts.calls.cells[-1])


POISON = 61  # a model that raises on rows with this in them, in input "a"


@st.composite
def requests(draw):
    """Requests of one or two inputs in any order, of some datatypes, any rows, and any outputs asked for."""
    names = draw(st.sampled_from([("a",), ("a", "b"), ("b", "a")]))
    rows_n, width = draw(st.integers(0, 4)), draw(st.integers(1, 2))
    tensors = []
    for name in names:
        datatype = draw(st.sampled_from(["FP32", "INT8", "UINT64", "FP16", "BYTES"]))
        size = rows_n * width
        values = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 7, 11, 13, POISON]), min_size=size, max_size=size))
        elements = [b"%d" % value for value in values] if datatype == "BYTES" else values
        tensors.append(Tensor(name, datatype, np.array(elements, DATATYPES[datatype].numpy).reshape(rows_n, width)))
    everything = [f"{what} {name}" for name in names for what in ("double", "size")]
    wanted = draw(st.lists(st.sampled_from(everything), unique=True, max_size=3))
    return InferenceRequest("m", tuple(tensors), tuple(wanted))


def poisonable(request):
    array = {tensor.name: tensor.array for tensor in request.inputs}["a"]
    if (array == (b"%d" % POISON if array.dtype == object else POISON)).any():
        raise ExecutionFailed("poison")
    return doubled(request)


def plain(outputs):
    return [(t.name, t.datatype, t.array.dtype.str, t.array.shape, t.array.tolist()) for t in outputs]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(requests(), min_size=1, max_size=12), st.integers(2, 12))
def test_batched_equals_unbatched(asked, max_rows):
    """Row by row, for any mix of sizes, datatypes and outputs, whoever else is asking and whoever fails."""

    async def ask_all():
        engine = Engine(poisonable)
        return engine, await answers(made(engine, max_rows=max_rows), asked)

    engine, found = asyncio.run(ask_all())
    for request, answer in zip(asked, found, strict=True):
        try:
            expected = plain(poisonable(request))
        except ExecutionFailed:
            assert isinstance(answer, ExecutionFailed)
        else:
            assert expected == plain(answer.outputs)
    assert max(engine.rows) <= max(max_rows, 4)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["stay", "leave", "late"])), min_size=1, max_size=16),
    st.integers(1, 16),
    st.lists(st.integers(0, 3), max_size=8),
)
def test_nobody_sees_anybody_elses_rows(callers, max_rows, turns):
    """An engine that writes on every row whose it was, callers who leave and come late: each gets their own."""

    async def ask_all():
        engine = Engine(lambda request: (Tensor("y", "INT64", request.inputs[0].array * 10),))
        batcher = made(engine, max_rows=max_rows)
        tasks = []
        for number, (rows_n, fate) in enumerate(callers):
            request = ask(np.full((rows_n, 1), number), datatype="INT64")
            by = soon() if fate != "late" else monotonic() + 1e-6
            tasks.append(asyncio.create_task(batcher.infer(request, deadline_at=by)))
            for _ in range(turns[number % len(turns)] if turns else 0):
                await asyncio.sleep(0)
            if fate == "leave":
                tasks[-1].cancel()
        return engine, await asyncio.gather(*tasks, return_exceptions=True)

    engine, found = asyncio.run(ask_all())
    for number, ((rows_n, fate), answer) in enumerate(zip(callers, found, strict=True)):
        if isinstance(answer, BaseException):
            assert isinstance(answer, {"leave": asyncio.CancelledError, "late": DeadlineExceeded}[fate])
        else:
            assert [[number * 10]] * rows_n == first_of(answer)
    assert len(engine.ran) <= len(callers)


async def test_nothing_is_held_once_a_caller_has_its_answer():
    """Sixty mebibytes that are answered are free at once, not when the collector happens to come."""
    engine = Engine()
    batcher = made(engine)
    request = ask(np.zeros((2, 1)))
    held = weakref.ref(request.inputs[0].array)
    gc.disable()
    try:
        await batcher.infer(request, deadline_at=soon())
        engine.ran.clear()
        del request
        await asyncio.sleep(0)
        assert held() is None
    finally:
        gc.enable()
