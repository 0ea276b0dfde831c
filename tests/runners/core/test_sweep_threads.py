"""Threads: every number of them is tried with the same calls, and more are advised only where they are worth a core."""

import pytest

from runners.core.runner import Description
from runners.core.sweep import Cell
from runners.core.sweep_threads import Threaded, advise_threads, sweep_threads, thread_counts
from runners.core.tensor import InferenceResponse, Signature, TensorSpec
from runners.onnx.rows import made_up_rows

FREE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))


class Endpoint:
    """Answers at once, and knows whether it was closed."""

    def __init__(self):
        self.description = Description(FREE, "test", "1", "0" * 64, "cpu")
        self.is_open = True

    def ready(self):
        return True

    async def infer(self, request, /, *, deadline_at):
        return InferenceResponse(request.inputs)

    async def close(self):
        self.is_open = False


def threaded(*lone_ms, failure=""):
    """Times of a lone call with 1, 2, 4 … threads."""
    cells = [Cell(1, 1, 1000 / ms, ms, ms) for ms in lone_ms]
    return [Threaded(2**place, cell, cell) for place, cell in enumerate(cells)]


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))]
)
def test_all_cores_are_tried_and_powers_of_two_below(cores, counts):
    assert counts == thread_counts(cores)


async def test_every_number_is_opened_measured_and_closed():
    """No two models are in memory at a time, and what is compared was asked alike."""
    opened = {}

    async def open_model(threads_n):
        assert not any(endpoint.is_open for endpoint in opened.values())
        opened[threads_n] = Endpoint()
        return opened[threads_n]

    found = await sweep_threads(open_model, (1, 2, 4), made_up_rows(FREE)[0], 16, 0.1)
    assert [(1, 1, 16), (2, 1, 16), (4, 1, 16)] == [(t.threads_n, t.lone.callers_n, t.crowd.callers_n) for t in found]
    assert ({1, 2, 4}, False) == (set(opened), any(endpoint.is_open for endpoint in opened.values()))
    assert all(each.lone.rows_s > 0 and each.crowd.rows_s > 0 for each in found)


@pytest.mark.parametrize(
    ("lone_ms", "advised"),
    [
        ((10.0, 5.2, 2.9), 4),
        ((10.0, 5.2, 5.1), 2),
        ((10.0, 9.0, 8.5), 1),
        ((10.0, 12.0, 20.0), 1),
        ((10.0,), 1),
    ],
)
def test_threads_are_advised_that_make_a_call_quicker(lone_ms, advised):
    """The fewest that bring nearly all; and a core for a tenth of the time is not worth it."""
    assert advised == advise_threads(threaded(*lone_ms)).threads_n


def test_nothing_is_advised_where_one_thread_failed():
    failed = Threaded(1, Cell(1, 1, failure="no"), Cell(1, 1, failure="no"))
    assert (None, None) == (advise_threads([]), advise_threads([failed, *threaded(5.0)[1:]]))
