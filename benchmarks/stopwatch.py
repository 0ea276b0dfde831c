"""Timing one call in microseconds: enough calls to fill a few milliseconds, a few times over, and the median of those.

What is counted is processor time of the whole process, so that neither a neighbour on the machine nor a wait for
another thread is taken for work. The loop that makes the calls costs some 0.03 us a turn, which stays in the figure.
"""

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import process_time

REPEATS_N = 7
LONG_ENOUGH_S = 0.02  # per repeat: far beyond the clock's and the scheduler's grain
CALLS_LIMIT_N = 20_000

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Timing:
    """Microseconds per call."""

    median_us: float
    least_us: float


def time_call(call: Call, *, calls_n: int = 0) -> Timing:
    """Time `call`; `calls_n` fixes how many make a repeat, 0 lets the clock decide."""
    call()
    number = calls_n or _enough(_spend(call, 10) / 10)
    return _timing([_spend(call, number) / number for _ in range(REPEATS_N)])


async def time_async(call: AsyncCall) -> Timing:
    """Time `call` inside the loop that is running."""
    await call()
    number = _enough(await _spend_async(call, 10) / 10)
    return _timing([await _spend_async(call, number) / number for _ in range(REPEATS_N)])


def _enough(call_s: float) -> int:
    return max(10, min(CALLS_LIMIT_N, round(LONG_ENOUGH_S / call_s)))


def _timing(seconds: list[float]) -> Timing:
    return Timing(median(seconds) * 1e6, min(seconds) * 1e6)


def _spend(call: Call, number: int) -> float:
    gc.collect()
    started_at = process_time()
    for _ in repeat(None, number):
        call()
    return process_time() - started_at


async def _spend_async(call: AsyncCall, number: int) -> float:
    gc.collect()
    started_at = process_time()
    for _ in repeat(None, number):
        await call()
    return process_time() - started_at
