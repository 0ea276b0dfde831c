"""Warm-up: a model's first runs, before anybody waits for one.

The first run of a shape allocates, and on a GPU compiles. What comes after is measured, and decides where the model is
run (placement.py). The operator's own proof, golden requests, is core/golden.py.
"""

import math
from collections.abc import Callable
from time import perf_counter, thread_time

import numpy as np
import onnxruntime as ort
from msgspec import Struct

from runners.core.errors import RunnerError
from runners.core.tensor import DATATYPES, InferenceRequest, Signature, Tensor, TensorSpec
from runners.onnx.session import LoadedModel, OnnxSession

ROWS_N = 8  # the largest request that may run on the event loop
_INPUT_LIMIT_BYTES = 256 << 20
_MEASURED_N = 5
_ROUNDS_N = 3
_ENOUGH_S = 0.05  # a round that took this long has said enough


class WarmUp(Struct, frozen=True):
    """How the runs with made-up inputs went: rows in the largest, its slowest run in seconds, and what failed, if so.

    `slowest_s` is infinite where the largest could not be run.
    """

    rows_n: int
    slowest_s: float
    fault: str = ""
    never_ran: bool = False


def clock_of(loaded: LoadedModel, threads: int) -> Callable[[], float]:
    """What runs of a model are timed by at load, in seconds.

    Processor time of the calling thread where that alone computes, for a machine that is busy while a model is loaded
    says nothing of the model. Elsewhere what the clock on the wall says.
    """
    return thread_time if threads == 1 and loaded.provider.name == "cpu" else perf_counter


def warm_up(session: OnnxSession, options: ort.RunOptions, clock: Callable[[], float] = perf_counter) -> WarmUp:
    """Run `session` on zeros and empty texts, with one row and then, where rows are free, with eight.

    Symbolic dimensions other than the first are guessed to be 1, which not every model can be run with; so a failure
    is told, not raised.
    """
    rows_n = 1
    slowest_s = math.inf
    for rows_n in (1, ROWS_N) if _takes_rows(session.signature) else (1,):
        too_large = _too_large(session.signature, rows_n)
        if too_large:
            return WarmUp(rows_n, math.inf, too_large, never_ran=rows_n == 1)
        request = InferenceRequest("", tuple(_zeros(spec, rows_n) for spec in session.signature.inputs))
        try:
            session.run(request, options)
            slowest_s = _slowest_s(lambda request=request: session.run(request, options), clock)  # type: ignore[misc]
        except RunnerError as error:
            return WarmUp(rows_n, math.inf, str(error), never_ran=rows_n == 1)
    return WarmUp(rows_n, slowest_s)


def _slowest_s(run: Callable[[], object], clock: Callable[[], float]) -> float:
    """The slowest of a few runs, in the best of a few rounds: what the machine did to one round is not the model's."""
    rounds = []
    for _ in range(_ROUNDS_N):
        began = clock()
        times = []
        for _ in range(_MEASURED_N):
            started = clock()
            run()
            times.append(clock() - started)
            if clock() - began > _ENOUGH_S:
                break
        rounds.append(max(times))
        if clock() - began > _ENOUGH_S:
            break
    return min(rounds)


def _takes_rows(signature: Signature) -> bool:
    return any(spec.shape and spec.shape[0] < 0 for spec in signature.inputs)


def _too_large(signature: Signature, rows_n: int) -> str:
    for spec in signature.inputs:
        size = math.prod(_shape(spec, rows_n)) * (DATATYPES[spec.datatype].itemsize or 1)
        if size > _INPUT_LIMIT_BYTES:
            return f"input {spec.name!r} alone would take {size} bytes"
    return ""


def _zeros(spec: TensorSpec, rows_n: int) -> Tensor:
    shape = _shape(spec, rows_n)
    if spec.datatype == "BYTES":
        return Tensor(spec.name, spec.datatype, np.full(shape, b"", dtype=object))
    return Tensor(spec.name, spec.datatype, np.zeros(shape, dtype=DATATYPES[spec.datatype].numpy))


def _shape(spec: TensorSpec, rows_n: int) -> tuple[int, ...]:
    return tuple((rows_n if axis == 0 else 1) if size < 0 else size for axis, size in enumerate(spec.shape))
