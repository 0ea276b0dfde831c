"""Whether a model's rows may be run together: tried at load, with rows that differ, before any caller's are.

A first dimension that may have any size is mostly a batch's, but a model may as well mix its rows: a softmax over them,
a sequence, a sum. And a kernel may round differently when it is given more rows; then what a caller gets would depend
on who else was asking. So rows run together must equal rows run apart, to the last bit unless a tolerance is given.
"""

from collections.abc import Callable, Iterable
from itertools import cycle, islice
from math import inf
from time import perf_counter
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from runners.core.batch import joined, key_of
from runners.core.checks import wide
from runners.core.errors import RunnerError
from runners.core.runner import Batching
from runners.core.tensor import DATATYPES, InferenceRequest, Signature, Tensor, TensorSpec, rows_of
from runners.onnx.graph import GraphFacts
from runners.onnx.placement import CONTROL_FLOW

Run = Callable[[InferenceRequest], tuple[Tensor, ...]]
Clock = Callable[[], float]

GAIN = 0.9  # rows together must take less than this of what they take apart: an answer waits for all of its batch
_SIZES = (2, 3, 8, 32)  # and the most that may be run together: kernels change with the size
_ROWS_N, _FEW_ROWS_N = 8, 3
_SLOW_S = 0.1  # one row; of slower models fewer rows are tried
_ENOUGH_S = 0.01  # of runs of one size: slow ones are not disturbed as easily
_TELLING_N = 8  # a model that gains nothing with so many rows does not with more
_LONGEST_S = 1.0  # what a batch may be expected to take; larger ones are neither tried nor run
_TEXTS = ("", "a", "b c", "ä", "turnout", "7", "0.5", "\n")


class RowTrial(Struct, frozen=True):
    """What was found: `why` rows are run apart, "" if they may be run together, at most `rows_n` of them.

    `one_ms` and `rows_ms` are the fastest runs of one row and of `rows_n` rows; 0 where that was not tried.
    """

    why: str = ""
    rows_n: int = 1
    one_ms: float = 0.0
    rows_ms: float = 0.0


class _Apart(Exception):
    """What keeps rows apart, in words."""


def try_rows(
    signature: Signature,
    facts: GraphFacts,
    run: Run,
    batching: Batching,
    known: Iterable[InferenceRequest],
    *,
    clock: Clock = perf_counter,
) -> RowTrial:
    """Run rows of `known` requests, or made-up ones, apart and together. Blocks for some seconds at most.

    `clock` says in seconds what runs take (`warmup.clock_of`).
    """
    objection = _objection(signature, facts, batching)
    if objection:
        return RowTrial(objection)
    rows = _known_rows(known) or made_up_rows(signature)
    try:
        answers, one_s = _run_apart(run, rows, clock)
    except (RunnerError, _Apart) as error:
        return RowTrial(str(error))
    rows_n, rows_s = 1, one_s
    for size in sorted({*(n for n in _SIZES if n < batching.max_rows), batching.max_rows}):
        if size > _SIZES[0] and size * one_s > _LONGEST_S:
            break
        try:
            rows_s = _run_together(run, rows[: len(answers)], answers, size, batching.tolerance, clock=clock)
        except (RunnerError, _Apart) as error:
            return RowTrial(f"{size} rows run together: {error}", 1, one_s * 1000)
        rows_n = size
        if rows_n >= _TELLING_N and rows_s >= GAIN * rows_n * one_s:
            break
    gains = rows_s < GAIN * rows_n * one_s
    return RowTrial("" if gains else "rows gain nothing by being run together", rows_n, one_s * 1000, rows_s * 1000)


def made_up_rows(signature: Signature) -> list[InferenceRequest]:
    """Requests of one row that differ from each other; whole numbers are 0 or 1, which most models can look up."""
    rng = np.random.default_rng(0)
    return [
        InferenceRequest("", tuple(_made_up(spec, place, rng) for spec in signature.inputs)) for place in range(_ROWS_N)
    ]


def _objection(signature: Signature, facts: GraphFacts, batching: Batching) -> str:
    """What speaks against trying, "" if nothing does."""
    specs = (*signature.inputs, *signature.outputs)
    fixed = [spec.name for spec in specs if spec.shape[:1] != (-1,)]
    branching = {op_type for _, op_type in facts.operators} & CONTROL_FLOW
    objections = (
        (batching.max_rows < _SIZES[0], "batching is off"),
        (not signature.inputs, "it takes no inputs"),
        (bool(fixed), f"dimension 0 of {', '.join(fixed)} is fixed"),
        # One row could keep all others running, and no trial would show it.
        (bool(branching), f"it uses {', '.join(sorted(branching))}, whose condition may be on all rows at once"),
    )
    return next((why for speaks_against, why in objections if speaks_against), "")


def _run_apart(run: Run, rows: list[InferenceRequest], clock: Clock) -> tuple[list[tuple[Tensor, ...]], float]:
    """The answers to the first rows, each run by itself, and the fastest run in seconds."""
    answers: list[tuple[Tensor, ...]] = []
    fastest_s = inf
    for row in rows[:_ROWS_N]:
        if len(answers) >= _FEW_ROWS_N and fastest_s > _SLOW_S:
            break
        started = clock()
        outputs = run(row)
        fastest_s = min(fastest_s, clock() - started)
        for place, tensor in enumerate(outputs):
            shape, first = tensor.shape, answers[0][place].shape if answers else tensor.shape
            if shape[:1] != (1,):
                raise _Apart(f"output {tensor.name!r} has shape {list(shape)} for one row")
            if shape != first:
                raise _Apart(
                    f"output {tensor.name!r} has shape {list(first)} for one row and {list(shape)} for another"
                )
        answers.append(outputs)
    return answers, fastest_s


def _run_together(
    run: Run,
    rows: list[InferenceRequest],
    answers: list[tuple[Tensor, ...]],
    size: int,
    tolerance: float,
    *,
    clock: Clock,
) -> float:
    """The fastest of some runs of `size` rows, in seconds. Raises _Apart when any of them differs from its answer."""
    request = joined(list(islice(cycle(rows), size)))
    fastest_s = inf
    ends_at = clock() + _ENOUGH_S
    for _ in range(_ROWS_N):
        started = clock()
        outputs = run(request)
        fastest_s = min(fastest_s, clock() - started)
        for place, tensor in enumerate(outputs):
            expected = np.concatenate([apart[place].array for apart in islice(cycle(answers), size)])
            _compare(tensor, expected, tolerance)
        if clock() > ends_at:
            break
    return fastest_s


def _compare(together: Tensor, apart: NDArray[Any], tolerance: float) -> None:
    """Raises _Apart unless the bits are the same. Any NaN is like any other, and floats may differ by `tolerance`."""
    name, array = together.name, together.array
    if array.shape != apart.shape:
        raise _Apart(f"output {name!r} has shape {list(array.shape)}, expected {list(apart.shape)}")
    one, other = wide(together), wide(Tensor(name, together.datatype, apart))
    if one.dtype.kind != "f":
        if (one != other).any():
            raise _Apart(f"output {name!r} differs from what they give apart")
        return
    same = ((one == other) & (np.signbit(one) == np.signbit(other))) | (np.isnan(one) & np.isnan(other))
    if not same.all():
        with np.errstate(invalid="ignore"):
            distances = np.abs(one[~same].astype(np.float64) - other[~same])
        distance = float(np.nan_to_num(distances, nan=inf).max())
        if not 0 < tolerance >= distance:
            raise _Apart(
                f"output {name!r} differs by up to {distance:.3g} from what they give apart, "
                f"the tolerance is {tolerance:g}"
            )


def _known_rows(known: Iterable[InferenceRequest]) -> list[InferenceRequest]:
    """Known requests row by row, as many as can be run together; none if there are not two, which might differ."""
    rows = [
        InferenceRequest("", tuple(Tensor(t.name, t.datatype, t.array[place : place + 1]) for t in request.inputs))
        for request in known
        if key_of(request) is not None
        for place in range(rows_of(request))
    ]
    alike = [row for row in rows if key_of(row) == key_of(rows[0])]
    return alike if len(alike) > 1 else []


def _made_up(spec: TensorSpec, place: int, rng: np.random.Generator) -> Tensor:
    shape = (1, *(1 if size < 0 else size for size in spec.shape[1:]))
    dtype = DATATYPES[spec.datatype].numpy
    match spec.datatype:
        case "BYTES":
            array = np.full(shape, _TEXTS[place % len(_TEXTS)].encode(), dtype=object)
        case "BF16" | "FP16" | "FP32" | "FP64":
            floats = rng.standard_normal(shape)
            floats = np.abs(floats) if place % 2 else floats  # a logarithm or a root tells nothing below zero
            is_bf16 = spec.datatype == "BF16"
            array = (floats.astype("<f4").view("<u4") >> 16).astype(dtype) if is_bf16 else floats.astype(dtype)
        case _:
            array = rng.integers(0, 2, shape).astype(dtype)
    return Tensor(spec.name, spec.datatype, array)
