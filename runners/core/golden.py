"""Golden requests: what a model must answer before it is let near a client.

The file is JSON, a list of cases; tensors are in the protocol's own JSON form:

    [{"inputs":  [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}],
      "outputs": [{"name": "y", "shape": [1, 3], "datatype": "FP32", "data": [0.9, 0.1, 0.0]}],
      "tolerance": 0.001}]

`tolerance` is absolute, 0.0001 if left out, and holds for floats; all else must be equal. Outputs that a case does not
name are not asked for. FP16 and BF16 have no JSON form, so such tensors cannot stand in it.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from runners.core.checks import InputCheck, OutputCheck
from runners.core.errors import InvalidInput, LoadRefused, RunnerError
from runners.core.frozen import freeze
from runners.core.tensor import InferenceRequest, Tensor
from runners.core.tensor_json import JsonTensor, tensor_from_json

_FILE_LIMIT_BYTES = 64 << 20


class GoldenCase(Struct, frozen=True):
    """One request and the answer expected of it."""

    request: InferenceRequest
    expected: tuple[Tensor, ...]
    tolerance: float


class _Written(Struct, forbid_unknown_fields=True):
    inputs: list[JsonTensor]
    outputs: list[JsonTensor]
    tolerance: float = 1e-4


def read_golden(path: Path) -> tuple[GoldenCase, ...]:
    """The cases of a golden file, at least one. Blocks on the disk. Raises LoadRefused."""
    with freeze(path, limit_bytes=_FILE_LIMIT_BYTES) as file:
        text = bytes(file.view)
    try:
        cases = msgspec.json.decode(text, type=list[_Written])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LoadRefused(path.name, f"is not a list of golden requests: {error}") from None
    if not cases:
        raise LoadRefused(path.name, "holds no golden request", "leave `golden` out if there is none")
    try:
        return tuple(_case(written) for written in cases)
    except InvalidInput as error:
        raise LoadRefused(path.name, f"holds a tensor that cannot be read: {error}") from None


def check_golden(
    name: str,
    cases: tuple[GoldenCase, ...],
    run: Callable[[InferenceRequest], tuple[Tensor, ...]],
    checks: tuple[InputCheck, OutputCheck],
) -> None:
    """Ask a model every golden request. Raises LoadRefused, saying which failed and how."""
    check_input, check_output = checks
    for number, case in enumerate(cases, 1):
        try:
            check_input(case.request)
            outputs = run(case.request)
            check_output(case.request.outputs, outputs)
        except RunnerError as error:
            raise LoadRefused(name, f"failed golden request {number}: {error}") from None
        fault = mismatch(case, outputs)
        if fault:
            raise LoadRefused(name, f"failed golden request {number}: {fault}", "is this the model that was meant?")


def mismatch(case: GoldenCase, outputs: tuple[Tensor, ...]) -> str:
    """In what an answer differs from the one expected, "" if in nothing; `outputs` are in the order asked for."""
    for expected, got in zip(case.expected, outputs, strict=True):
        if expected.datatype != got.datatype or expected.shape != got.shape:
            return (
                f"output {got.name!r} is {got.datatype} {list(got.shape)}, "
                f"expected {expected.datatype} {list(expected.shape)}"
            )
        differs = _differs(expected, got, case.tolerance)
        if differs.any():
            at = tuple(int(index) for index in np.argwhere(differs)[0])
            return (
                f"output {got.name!r} at {list(at)} is {got.array[at]}, expected {expected.array[at]} "
                f"within {case.tolerance}; {int(differs.sum())} of {differs.size} elements differ"
            )
    return ""


def _case(written: _Written) -> GoldenCase:
    if not written.tolerance >= 0:
        raise InvalidInput(f"tolerance {written.tolerance} is below zero")
    inputs = tuple(tensor_from_json(tensor) for tensor in written.inputs)
    expected = tuple(tensor_from_json(tensor) for tensor in written.outputs)
    if not expected:
        raise InvalidInput("a case expects no output")
    names = tuple(tensor.name for tensor in expected)
    return GoldenCase(InferenceRequest("", inputs, names), expected, written.tolerance)


def _differs(expected: Tensor, got: Tensor, tolerance: float) -> np.ndarray:
    if expected.array.dtype.kind != "f":
        return np.asarray(expected.array != got.array)
    one, other = expected.array.astype(np.float64), got.array.astype(np.float64)
    with np.errstate(invalid="ignore"):  # Inf less Inf is NaN, and equality has been asked before
        near = (one == other) | (np.abs(one - other) <= tolerance) | (np.isnan(one) & np.isnan(other))
    return np.asarray(~near)
