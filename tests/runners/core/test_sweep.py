"""A sweep: every size under every number of callers, and advice that follows from the figures alone."""

import asyncio

import pytest

from runners.core import sweep as sweeping
from runners.core.errors import ExecutionFailed
from runners.core.runner import Description
from runners.core.sweep import CALLERS, ROWS, Cell, advise, as_rows, measure, sweep
from runners.core.tensor import InferenceResponse, Signature, TensorSpec, rows_of
from runners.onnx.rows import made_up_rows

FREE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
FIXED = Signature((TensorSpec("x", "FP32", (1, 2)),), (TensorSpec("y", "FP32", (1, 2)),))


class Endpoint:
    """Answers at once, and keeps how many rows each call had."""

    def __init__(self, signature=FREE, failure=None):
        self.description = Description(signature, "test", "1", "0" * 64, "cpu")
        self.failure = failure
        self.rows = set()

    def ready(self):
        return True

    async def infer(self, request, /, *, deadline_at):
        self.rows.add(rows_of(request))
        if self.failure:
            raise self.failure
        return InferenceResponse(request.inputs)

    async def close(self):
        return


class Slow(Endpoint):
    """Answers nobody, but for the warm-up where a call is to fail; knows how many calls are under way."""

    def __init__(self, fails_at=0):
        super().__init__()
        self.fails_at = fails_at
        self.calls_n = self.under_way_n = 0

    async def infer(self, request, /, *, deadline_at):
        self.calls_n += 1
        if self.calls_n < self.fails_at - 1:
            return InferenceResponse(request.inputs)
        if self.calls_n == self.fails_at:
            raise ExecutionFailed("the fifth")
        self.under_way_n += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.under_way_n -= 1


async def test_every_size_is_asked_by_every_number_of_callers():
    """The table has no holes, and what it says of rows is what was asked."""
    endpoint = Endpoint()
    cells = await sweep(endpoint, made_up_rows(FREE), seconds=0.2)
    assert [(rows, callers) for rows in ROWS for callers in CALLERS] == [(c.rows_n, c.callers_n) for c in cells]
    assert set(ROWS) == endpoint.rows
    assert all(cell.rows_s > 0 and 0 <= cell.p50_ms <= cell.p99_ms for cell in cells)


async def test_a_model_of_fixed_shape_is_asked_as_it_is():
    endpoint = Endpoint(FIXED)
    cells = await sweep(endpoint, made_up_rows(FIXED), seconds=0.1)
    assert ({1}, len(CALLERS)) == (endpoint.rows, len(cells))


async def test_a_call_that_fails_is_told_and_ends_its_cell_alone():
    """A model that cannot take a size is no reason to learn nothing of the others."""
    endpoint = Endpoint(failure=ExecutionFailed("too large"))
    cell = await measure(endpoint, made_up_rows(FREE)[0], 1, 4, 0.05)
    assert ("too large", 0.0) == (cell.failure, cell.rows_s)


async def test_a_cell_ends_when_its_time_is_up_however_slow_the_model_is():
    """Whoever says how long it may take is not kept waiting; calls under way are given up."""
    endpoint = Slow()
    cell = await measure(endpoint, made_up_rows(FREE)[0], 1, 8, 0.05)
    assert ("no call was answered within 0.1 s", 0) == (cell.failure, endpoint.under_way_n)


async def test_when_a_call_fails_the_others_are_given_up():
    """Nobody goes on asking while the next cell is measured."""
    endpoint = Slow(fails_at=5)
    cell = await measure(endpoint, made_up_rows(FREE)[0], 1, 16, 30.0)
    assert ("the fifth", 0) == (cell.failure, endpoint.under_way_n)


def cell(rows_n, callers_n, rows_s, cores=1.0, failure=""):
    return Cell(rows_n, callers_n, rows_s, 1.0, 2.0, cores, failure)


@pytest.mark.parametrize(
    ("figures", "max_rows"),
    [
        ({1: 100.0, 8: 700.0, 32: 990.0, 128: 1000.0}, 32),
        ({1: 100.0, 8: 100.0, 32: 99.0, 128: 98.0}, 1),
        ({1: 100.0, 8: 800.0, 32: 3200.0, 128: 12800.0}, 128),
    ],
)
def test_the_fewest_rows_that_bring_nearly_the_most_are_advised(figures, max_rows):
    """Larger runs make everybody wait longer, so they have to bring something."""
    assert max_rows == advise([cell(rows, 16, rate) for rows, rate in figures.items()], 2).max_rows


def test_calls_that_shared_a_run_do_not_speak_for_small_runs():
    """Many callers of one row are answered from runs of many; to advise runs of one row would turn that off."""
    alone = [cell(1, 1, 350.0), cell(8, 1, 1600.0), cell(32, 1, 2900.0), cell(128, 1, 3000.0)]
    assert 32 == advise([*alone, cell(1, 64, 3000.0), cell(128, 64, 3050.0)], 2).max_rows


@pytest.mark.parametrize(("cores", "workers"), [(1.0, 8), (1.1, 7), (2.0, 4), (8.0, 1), (16.0, 1)])
def test_processes_are_advised_that_use_the_cores(cores, workers):
    """A model that takes one core alone leaves seven of eight idle."""
    assert workers == advise([cell(1, 16, 100.0, cores)], 8).workers


def test_what_failed_counts_for_nothing():
    advice = advise([cell(1, 1, 100.0), cell(8, 1, 0.0, failure="no")], 2)
    assert (1, None) == (advice.max_rows, advise([cell(1, 1, 0.0, failure="no")], 2))


def test_only_requests_of_one_row_are_built_upon():
    """A golden request of three rows cannot be cut without knowing what the rows mean to each other."""
    one = made_up_rows(FREE)[0]
    three = sweeping.joined([one, one, one])
    assert [one] == list(as_rows([three, one]))
