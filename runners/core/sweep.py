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
    """One cell, after a few calls that do not count. Whatever is under way when `seconds` are over is given up."""
    asked = _Asked(endpoint, request)
    try:
        await asked.warm_and_load(callers_n, seconds)
    except RunnerError as error:
        return Cell(rows_n, callers_n, failure=str(error))
    times_s = sorted(asked.times_s)
    if not times_s:
        return Cell(rows_n, callers_n, failure=f"no call was answered within {seconds:.1f} s")
    return Cell(
        rows_n,
        callers_n,
        len(times_s) * rows_n / asked.took_s,
        _rank(times_s, 0.50) * 1e3,
        _rank(times_s, 0.99) * 1e3,
        asked.cpu_s / asked.took_s,
    )


class _Asked:
    """One request asked again and again: how long every call took, and what all took together."""

    def __init__(self, endpoint: Endpoint, request: InferenceRequest) -> None:
        self.times_s: list[float] = []
        self.took_s = self.cpu_s = 0.0
        self._endpoint = endpoint
        self._request = request

    async def warm_and_load(self, callers_n: int, seconds: float) -> None:
        """Raises what the first call that failed raised; then, as when time is up, nobody goes on asking."""
        began, cpu_s = perf_counter(), process_time()
        try:
            async with asyncio.timeout(seconds):
                for _ in range(WARM_N):
                    await self._call()
                self.times_s.clear()
                began, cpu_s = perf_counter(), process_time()
                async with asyncio.TaskGroup() as callers:
                    for _ in range(callers_n):
                        callers.create_task(self._call_for_ever())
        except TimeoutError:
            self.took_s, self.cpu_s = perf_counter() - began, process_time() - cpu_s
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _call_for_ever(self) -> None:
        while True:
            await self._call()

    async def _call(self) -> None:
        started = perf_counter()
        await self._endpoint.infer(self._request, deadline_at=monotonic() + DEADLINE_S)
        self.times_s.append(perf_counter() - started)
        await asyncio.sleep(0)  # a model on the event loop never waits, and the others want their turn


def takes_rows(signature: Signature) -> bool:
    """Whether a call may have any number of rows."""
    return bool(signature.inputs) and all(spec.shape[:1] == (-1,) for spec in signature.inputs)


def advise(cells: Sequence[Cell], cores_n: int) -> Advice | None:
    """The fewest rows of a run that bring nearly the most, and processes for `cores_n` cores; None if all failed.

    Rows of a run are judged by callers that are alone: where several ask, the endpoint has their calls share runs, and
    a call of one row is no run of one row.
    """
    good = [cell for cell in cells if not cell.failure]
    if not good:
        return None
    alone = [cell for cell in good if cell.callers_n == 1] or good
    most = max(cell.rows_s for cell in alone)
    enough = min((cell for cell in alone if cell.rows_s >= ENOUGH * most), key=lambda cell: (cell.rows_n, cell.p99_ms))
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
