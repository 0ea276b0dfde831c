"""Turns: whoever comes in one turn of the event loop shares a run, and nobody can tell."""

import asyncio
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.core.batch_counts import BatchCounts
from runners.core.errors import DeadlineExceeded, ExecutionFailed, NotReady
from runners.core.tensor import InferenceRequest, Tensor, rows_of
from runners.core.turns import Turn, Turns

LATER = float("inf")


class Model:
    """Two outputs: the rows doubled, and their place in the run. Negative numbers make it fail."""

    def __init__(self) -> None:
        self.ran: list[int] = []  # rows of every run
        self.loses_rows = False

    def __call__(self, request):
        rows_n = rows_of(request)
        self.ran.append(rows_n)
        (x,) = request.inputs
        if (x.array < 0).any():
            raise ExecutionFailed("a number below zero")
        double = x.array * 2
        if self.loses_rows and rows_n > 1:
            double = double[:1]
        outputs = {"double": Tensor("double", x.datatype, double), "rows": Tensor("rows", "INT64", np.arange(rows_n))}
        return tuple(outputs[name] for name in request.outputs or outputs)


def ask(rows, *outputs, datatype="FP32"):
    dtype = {"FP32": np.float32, "INT64": np.int64}[datatype]
    return InferenceRequest("m", (Tensor("x", datatype, np.array(rows, dtype).reshape(-1, 1)),), outputs)


async def together(turns, *requests, deadlines=()):
    """What each caller gets when all ask in one turn: a response or an error."""
    asked = [
        asyncio.ensure_future(turns.infer(request, deadline_at=deadline))
        for request, deadline in zip(requests, deadlines or [LATER] * len(requests), strict=True)
    ]
    return await asyncio.gather(*asked, return_exceptions=True)


def doubles(response):
    return response.outputs[0].array.ravel().tolist()


def make(max_rows=64, turn=None):
    model, counts = Model(), BatchCounts()
    return Turns(model, max_rows, counts, turn or Turn()), model, counts


async def test_a_lone_call_is_run_at_once():
    """Whoever is alone waits for nobody: the answer is there before the loop turns."""
    turns, model, _ = make()
    asking = turns.infer(ask([1]), deadline_at=LATER)
    with pytest.raises(StopIteration) as answered:
        asking.send(None)
    assert ([2.0], [1]) == (doubles(answered.value.value), model.ran)


async def test_those_who_come_in_one_turn_share_a_run():
    """The first is answered at once, the nine others by one run."""
    turns, model, counts = make()
    responses = await together(turns, *[ask([n, n + 0.5]) for n in range(10)])
    assert [[2.0 * n, 2.0 * n + 1] for n in range(10)] == [doubles(response) for response in responses]
    assert ([2, 18], 9, 18) == (model.ran, counts.calls.cells[-1], counts.rows.cells[-1])
    assert [0, *[18] * 9] == [response.batch_rows for response in responses]


async def test_the_next_turn_begins_anew():
    turns, model, _ = make()
    await together(turns, ask([1]), ask([2]), ask([3]))
    await together(turns, ask([4]))
    assert [1, 2, 1] == model.ran


async def test_where_calls_meet_turn_after_turn_the_first_joins_them():
    """Under load a turn has one run. Whoever is then alone waits for one turn, and after that for nobody again."""
    turns, model, _ = make()
    for calls_n in (3, 3, 1, 1, 2, 2):
        await together(turns, *[ask([n]) for n in range(calls_n)])
    assert [1, 2, 3, 1, 1, 1, 1, 1, 1] == model.ran
    await together(turns, ask([1]))
    asking = turns.infer(ask([1]), deadline_at=LATER)
    with pytest.raises(StopIteration):
        asking.send(None)


async def test_models_whose_calls_meet_have_their_runs_at_the_end_of_the_turn():
    """A canary's few calls join each other as well: a run in the midst of a turn would cost everybody in it."""
    turn = Turn()
    (old, one, _), (new, other, _) = make(turn=turn), make(turn=turn)
    for _ in range(2):
        asked = [old.infer(ask([1]), deadline_at=LATER) for _ in range(3)]
        await asyncio.gather(*asked, *[new.infer(ask([2]), deadline_at=LATER) for _ in range(2)])
    assert ([1, 2, 3], [1, 1, 2]) == (one.ran, other.ran)


async def test_a_run_has_at_most_so_many_rows():
    """Everybody waits for a run on the loop, so it stays short; a call is never split."""
    turns, model, _ = make(max_rows=4)
    responses = await together(turns, *[ask([n] * 3) for n in range(4)], ask([9]), ask([7] * 9))
    assert [3, 3, 3, 4, 9] == model.ran
    assert [9] * 3 == [len(doubles(responses[-1])), *[9] * 2]


async def test_where_rows_may_not_be_run_together_every_call_has_its_run():
    turns, model, counts = make(max_rows=1)
    await together(turns, ask([1]), ask([2]), ask([3]))
    assert ([1, 1, 1], 0) == (model.ran, counts.calls.cells[-1])


async def test_a_call_at_fault_fails_alone():
    """The others are answered, each by a run of its own."""
    turns, _, _ = make()
    first, good, bad, other = await together(turns, ask([0]), ask([1]), ask([-1]), ask([3]))
    assert ([0.0], [2.0], [6.0]) == (doubles(first), doubles(good), doubles(other))
    assert "a number below zero" == str(bad)


async def test_runs_are_numbered_among_all_who_run_the_model():
    """What is run here and what is run in the model's thread are never taken for one run."""
    turns, _, counts = make()
    next(counts.runs)
    found = await together(turns, ask([1]), ask([2]), ask([-1]), ask([3]))
    assert [0, 2, 2, 2] == [each.run for each in found]
    assert isinstance(found[2], ExecutionFailed)


async def test_a_late_call_is_not_run_and_its_neighbours_are():
    """Whoever has no time left is told so; those beside them lose nothing."""
    turns, model, _ = make()
    soon = [LATER, LATER, monotonic() - 1, LATER]
    _, good, late, other = await together(turns, ask([0]), ask([1]), ask([2]), ask([3]), deadlines=soon)
    assert (DeadlineExceeded, [2.0], [6.0]) == (type(late), doubles(good), doubles(other))
    assert 3 == sum(model.ran)


async def test_whoever_leaves_is_not_run():
    turns, model, _ = make()
    asked = [asyncio.ensure_future(turns.infer(ask([n]), deadline_at=LATER)) for n in range(4)]
    await asyncio.sleep(0)
    asked[2].cancel()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert ([[0.0], [2.0], [6.0]], [1, 2]) == ([doubles(outcomes[n]) for n in (0, 1, 3)], model.ran)


async def test_a_model_that_loses_rows_is_run_one_by_one_for_good():
    """Nobody can tell whose row is whose, so nobody gets a stranger's."""
    turns, model, _ = make()
    model.loses_rows = True
    responses = await together(turns, *[ask([n]) for n in range(4)])
    assert ([[0.0], [2.0], [4.0], [6.0]], False) == ([doubles(each) for each in responses], turns.together)
    model.ran.clear()
    await together(turns, ask([1]), ask([2]))
    assert [1, 1] == model.ran


async def test_a_close_fails_all_that_wait():
    turns, _, _ = make()
    asked = [asyncio.ensure_future(turns.infer(ask([n]), deadline_at=LATER)) for n in range(3)]
    await asyncio.sleep(0)
    turns.close()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [NotReady, NotReady] == [type(outcome) for outcome in outcomes[1:]]


ROWS = st.lists(st.integers(-1, 5), min_size=0, max_size=4)
OUTPUTS = st.sampled_from([(), ("double",), ("rows", "double"), ("double", "rows")])
KINDS = st.sampled_from(["FP32", "INT64"])
REQUESTS = st.builds(lambda rows, names, kind: ask(rows, *names, datatype=kind), ROWS, OUTPUTS, KINDS)


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=12), st.integers(1, 9))
def test_nobody_can_tell_that_a_run_was_shared(requests, max_rows):
    """For any mix of rows, datatypes and outputs asked for, each caller gets what a run alone would have given."""

    async def play():
        turns, _, _ = make(max_rows)
        return await together(turns, *requests)

    for request, outcome in zip(requests, asyncio.run(play()), strict=True):
        if (request.inputs[0].array < 0).any():
            assert isinstance(outcome, ExecutionFailed)
            continue
        names = request.outputs or ("double", "rows")
        assert list(names) == [tensor.name for tensor in outcome.outputs]
        for tensor in outcome.outputs:
            assert rows_of(request) == len(tensor.array)
            if tensor.name == "double":
                assert (request.inputs[0].array * 2).tolist() == tensor.array.tolist()
                assert request.inputs[0].datatype == tensor.datatype
