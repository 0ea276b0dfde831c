"""A sweep: an opened model under callers that ask again at once, for every number of rows and of callers.

It goes through the endpoint as a request does, checks and batching included, and leaves out what is around it: the
network, the protocol, the decision, the record.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from time import monotonic, perf_counter, process_time

from msgspec import Struct

from runners.core.batch import joined
from runners.core.errors import RunnerError
from runners.core.runner import Endpoint
from runners.core.tensor import InferenceRequest, Signature

ROWS = (1, 8, 32, 128)
CALLERS = (1, 4, 16, 64)
DEADLINE_S = 60.0  # a sweep is to measure what a model takes, not to lose patience with it
WARM_N = 3
ENOUGH = 0.95  # of the most: beyond it, more rows only make everybody wait longer


class Cell(Struct, frozen=True):
    """What came of one number of rows a call, under one number of callers.

    `rows_s` are rows answered a second, times are milliseconds, `cores` is processor time over time. `failure` is ""
    or what the first call that failed said; then the figures are 0.
    """

    rows_n: int
    callers_n: int
    rows_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cores: float = 0.0
    failure: str = ""


class Advice(Struct, frozen=True):
    """What a sweep suggests: rows of one run, and how many processes would use the machine's cores."""

    max_rows: int
    workers: int
    best: Cell


async def sweep(endpoint: Endpoint, rows: Sequence[InferenceRequest], seconds: float) -> list[Cell]:
    """Measure every cell for an equal part of `seconds`. `rows` are requests of one row, as different as may be."""
    sizes = ROWS if takes_rows(endpoint.description.signature) else ROWS[:1]
    cells = []
    for rows_n in sizes:
        request = joined(list(islice(cycle(rows), rows_n)))
        for callers_n in CALLERS:
            each_s = seconds / (len(sizes) * len(CALLERS))
            cells.append(await measure(endpoint, request, rows_n, callers_n, each_s))
    return cells


async def measure(endpoint: Endpoint, request: InferenceRequest, rows_n: int, callers_n: int, seconds: float) -> Cell:
    """One cell, after a few calls that do not count."""
    times_s: list[float] = []

    async def call_until(ends_at: float) -> None:
        while (started := perf_counter()) < ends_at:
            await endpoint.infer(request, deadline_at=monotonic() + DEADLINE_S)
            times_s.append(perf_counter() - started)
            await asyncio.sleep(0)  # a model on the event loop never waits, and the others want their turn

    try:
        for _ in range(WARM_N):
            await endpoint.infer(request, deadline_at=monotonic() + DEADLINE_S)
        began, cpu_s = perf_counter(), process_time()
        await asyncio.gather(*[call_until(began + seconds) for _ in range(callers_n)])
    except RunnerError as error:
        return Cell(rows_n, callers_n, failure=str(error))
    took_s = perf_counter() - began
    times_s.sort()
    return Cell(
        rows_n,
        callers_n,
        len(times_s) * rows_n / took_s,
        _rank(times_s, 0.50) * 1e3,
        _rank(times_s, 0.99) * 1e3,
        (process_time() - cpu_s) / took_s,
    )


def takes_rows(signature: Signature) -> bool:
    """Whether a call may have any number of rows."""
    return bool(signature.inputs) and all(spec.shape[:1] == (-1,) for spec in signature.inputs)


def advise(cells: Sequence[Cell], cores_n: int) -> Advice | None:
    """The fewest rows of a run that bring nearly the most, and processes for `cores_n` cores; None if all failed."""
    good = [cell for cell in cells if not cell.failure]
    if not good:
        return None
    most = max(cell.rows_s for cell in good)
    enough = min((cell for cell in good if cell.rows_s >= ENOUGH * most), key=lambda cell: (cell.rows_n, cell.p99_ms))
    best = max(_single(good) or good, key=lambda cell: cell.rows_s)
    return Advice(enough.rows_n, max(1, round(cores_n / max(best.cores, 0.5))), best)


def _single(cells: Sequence[Cell]) -> list[Cell]:
    """Cells of calls with one row, which most callers make."""
    return [cell for cell in cells if cell.rows_n == 1]


def _rank(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of what is in order already, 0 of nothing."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else 0.0


def as_rows(requests: Sequence[InferenceRequest]) -> Iterator[InferenceRequest]:
    """Those of `requests` that have one row, so that others can be made of them."""
    return (request for request in requests if all(tensor.array.shape[:1] == (1,) for tensor in request.inputs))
