"""How alike two answers are, element by element, a slice at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.core.checks import wide
from runners.core.tensor import InferenceResponse, Tensor

TOLERANCE = 1e-3  # absolute and relative; two runtimes' float noise lies well below, a changed answer well above
SLICE_N = 32_768  # numbers at once: some 0.1 ms, and numpy lets go of the interpreter for most of it
TEXTS_N = 1_024  # texts at once: comparing them holds the interpreter, for some 0.02 ms
_FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})


def _go_on() -> None:
    """What is called between slices when nobody needs to be let in."""


def agreement(served: InferenceResponse, shadow: InferenceResponse, *, pause: Callable[[], None] = _go_on) -> float:
    """Share of the served elements that the shadow gives alike; outputs are matched by name.

    Numbers with a fraction (FP16, BF16, FP32, FP64) agree within TOLERANCE, absolute or relative to the served value,
    whichever is more; NaN agrees with NaN at the same place, an infinity with itself, 0 with -0. Integers, BOOL and
    BYTES must be equal. An output that is missing, or of another shape or datatype, disagrees wholly. Nothing served
    agrees fully. In [0, 1].

    `pause` is called after each slice; what it raises ends the comparison.
    """
    shadows = {tensor.name: tensor for tensor in shadow.outputs}
    total = sum(tensor.array.size for tensor in served.outputs)
    if not total:
        return 1.0
    return sum(_alike_n(tensor, shadows.get(tensor.name), pause) for tensor in served.outputs) / total


def _alike_n(served: Tensor, shadow: Tensor | None, pause: Callable[[], None]) -> int:
    if shadow is None or shadow.array.shape != served.array.shape or shadow.datatype != served.datatype:
        return 0
    alike = _close_n if served.datatype in _FLOATS else _equal_n
    step = TEXTS_N if served.datatype == "BYTES" else SLICE_N
    left, right = served.array.reshape(-1), shadow.array.reshape(-1)
    found = 0
    for start in range(0, left.size, step):
        found += alike(_part(served, left, start, step), _part(shadow, right, start, step))
        pause()
    return found


def _part(tensor: Tensor, flat: NDArray[Any], start: int, step: int) -> NDArray[Any]:
    return wide(Tensor(tensor.name, tensor.datatype, flat[start : start + step]))


def _equal_n(served: NDArray[Any], shadow: NDArray[Any]) -> int:
    return int(np.count_nonzero(served == shadow))


def _close_n(served: NDArray[Any], shadow: NDArray[Any]) -> int:
    served, shadow = served.astype(np.float64), shadow.astype(np.float64)
    with np.errstate(invalid="ignore"):
        close = np.isfinite(served) & (np.abs(served - shadow) <= TOLERANCE * np.maximum(1.0, np.abs(served)))
    same = (served == shadow) | (np.isnan(served) & np.isnan(shadow))  # infinities and NaN agree with themselves
    return int(np.count_nonzero(close | same))
