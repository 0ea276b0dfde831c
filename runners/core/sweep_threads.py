"""What more intra-op threads bring: a model opened with each number of them, under one caller and under many."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from runners.core.runner import Endpoint
from runners.core.sweep import Cell, measure
from runners.core.tensor import InferenceRequest

ENOUGH = 0.95  # of the shortest time: beyond it, more threads only take cores from others
WORTH_IT = 0.8  # of the time with one thread: for less nobody should give a call a second core

Open = Callable[[int], Awaitable[Endpoint]]  # a model with so many threads


class Threaded(Struct, frozen=True):
    """What came of one number of threads: a caller by itself, and a crowd of them, both with one row a call."""

    threads_n: int
    lone: Cell
    crowd: Cell


def thread_counts(cores_n: int) -> tuple[int, ...]:
    """1, 2, 4 … and as many as there are cores."""
    doubled = [2**power for power in range(cores_n.bit_length()) if 2**power < cores_n]
    return (*doubled, cores_n)


async def sweep_threads(
    open_model: Open, counts: Sequence[int], row: InferenceRequest, callers_n: int, seconds: float
) -> list[Threaded]:
    """Measure every number of threads for an equal part of `seconds`, loading apart. Raises LoadRefused."""
    each_s = seconds / (2 * len(counts))
    found = []
    for threads_n in counts:
        endpoint = await open_model(threads_n)
        try:
            lone = await measure(endpoint, row, 1, 1, each_s)
            crowd = await measure(endpoint, row, 1, callers_n, each_s)
        finally:
            await endpoint.close()
        found.append(Threaded(threads_n, lone, crowd))
    return found


def advise_threads(found: Sequence[Threaded]) -> Threaded | None:
    """The fewest threads with which a lone call takes hardly longer than with any, one unless more are worth it.

    None where nothing was measured with one thread.
    """
    good = [each for each in found if not each.lone.failure]
    one = next((each for each in good if each.threads_n == 1), None)
    if one is None:
        return None
    shortest_ms = min(each.lone.p50_ms for each in good)
    enough = next(each for each in good if ENOUGH * each.lone.p50_ms <= shortest_ms)
    return enough if enough.lone.p50_ms <= WORTH_IT * one.lone.p50_ms else one
