"""Large answers are compared beside the event loop, in slices, and given up when nobody waits any more."""

import asyncio
import threading
from time import monotonic

import numpy as np
import pytest

from gateway.comparing import comparer as module
from gateway.comparing.comparer import Comparer
from gateway.comparing.likeness import Likeness, likeness
from gateway.comparing.tensors import SLICE_N, TEXTS_N, agreement
from runners.core.tensor import InferenceResponse, Tensor

LARGE = np.arange(200_000, dtype=np.float32)


def answer(array: np.ndarray, datatype: str = "FP32") -> InferenceResponse:
    return InferenceResponse((Tensor("y", datatype, array),))


@pytest.fixture
async def comparer():
    comparer = Comparer()
    yield comparer
    await comparer.close()


@pytest.fixture
def threads(monkeypatch) -> list[str]:
    """The names of the threads in which something was compared."""
    names: list[str] = []

    def noted(*answers, **how) -> Likeness:
        names.append(threading.current_thread().name)
        return likeness(*answers, **how)

    monkeypatch.setattr(module, "likeness", noted)
    return names


@pytest.mark.parametrize(("size", "thread"), [(10, "MainThread"), (65, "comparing"), (200_000, "comparing")])
async def test_a_large_answer_is_compared_in_a_thread_and_a_small_one_on_the_loop(comparer, threads, size, thread):
    alike = await comparer.compare(answer(LARGE[:size]), answer(LARGE[:size]), deadline_at=monotonic() + 60)

    assert (alike.agreement, threads) == (1.0, [thread])


async def test_a_comparison_nobody_waits_for_any_more_ends(comparer, monkeypatch):
    """At shutdown, and when a shadow's time is over, the thread is free again after the slice it is at."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(*_, pause, **_how) -> Likeness:
        loop.call_soon_threadsafe(begun.set)
        while True:
            pause()

    monkeypatch.setattr(module, "likeness", endless)
    comparing = asyncio.ensure_future(comparer.compare(answer(LARGE), answer(LARGE), deadline_at=monotonic() + 60))
    await begun.wait()
    comparing.cancel()
    await asyncio.wait([comparing])

    monkeypatch.undo()
    alike = await comparer.compare(answer(LARGE), answer(LARGE), deadline_at=monotonic() + 60)
    assert alike.agreement == 1.0


async def test_what_is_not_compared_in_time_is_not_compared(comparer):
    assert await comparer.compare(answer(LARGE), answer(LARGE), deadline_at=monotonic() - 1) is None


@pytest.mark.parametrize(
    ("array", "datatype", "slice_n"),
    [
        (np.zeros(3 * SLICE_N + 1, np.float32), "FP32", SLICE_N),
        (np.zeros((3, SLICE_N), np.int64), "INT64", SLICE_N),
        (np.full(2 * TEXTS_N + 1, b"text", object), "BYTES", TEXTS_N),
    ],
)
def test_the_thread_pauses_after_every_slice(array, datatype, slice_n):
    """However large an answer is, others get the interpreter within a slice."""
    pauses: list[None] = []
    agreement(answer(array, datatype), answer(array, datatype), pause=lambda: pauses.append(None))

    assert len(pauses) == -(-array.size // slice_n)
