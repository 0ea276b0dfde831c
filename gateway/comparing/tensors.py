"""How alike two answers are, element by element, a slice at a time."""

from collections.abc import Callable
from math import inf, isfinite, isnan
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.comparing.tolerance import BY_DATATYPE, Tolerance, tolerance_for
from runners.core.checks import wide
from runners.core.tensor import InferenceResponse, Tensor

SLICE_N = 32_768  # numbers at once: some 0.1 ms, and numpy lets go of the interpreter for most of it
FEW_N = 64  # numbers up to which Python compares them sooner than numpy's dozen of calls do
TEXTS_N = 1_024  # texts at once: comparing them holds the interpreter, for some 0.02 ms


class Nearness(Struct, frozen=True):
    """What a comparison of elements found. `max_abs` and `max_rel` are over pairs of finite numbers, 0 without any."""

    alike_n: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0

    def __add__(self, other: "Nearness") -> "Nearness":
        return Nearness(
            self.alike_n + other.alike_n, max(self.max_abs, other.max_abs), max(self.max_rel, other.max_rel)
        )


def go_on() -> None:
    """What is called between slices when nobody needs to be let in."""


def nearness(
    served: Tensor, shadow: Tensor, *, tolerance: Tolerance | None = None, pause: Callable[[], None] = go_on
) -> Nearness:
    """How many elements of two tensors of one shape and datatype are alike, and how far numbers lie apart.

    Numbers with a fraction (FP16, BF16, FP32, FP64) are alike within `tolerance`, by default their datatype's; NaN is
    like NaN at the same place, an infinity like itself, 0 like -0. Integers, BOOL and BYTES must be equal.

    `pause` is called after each slice; what it raises ends the comparison.
    """
    step = TEXTS_N if served.datatype == "BYTES" else SLICE_N
    bound = tolerance_for(served.datatype, tolerance) if served.datatype in BY_DATATYPE else None
    left, right = served.array.reshape(-1), shadow.array.reshape(-1)
    found = Nearness()
    for start in range(0, left.size, step):
        one, other = part(served, left, start, step), part(shadow, right, start, step)
        if bound is None:
            found += Nearness(int(np.count_nonzero(one == other)))
        elif one.size <= FEW_N:
            found += _near_few(one.tolist(), other.tolist(), bound)
        else:
            found += _near(one, other, bound)
        pause()
    return found


def agreement(
    served: InferenceResponse,
    shadow: InferenceResponse,
    *,
    tolerance: Tolerance | None = None,
    pause: Callable[[], None] = go_on,
) -> float:
    """Share of the served elements that the shadow gives alike, as `nearness` has it; outputs are matched by name.

    An output that is missing, or of another shape or datatype, disagrees wholly. Nothing served agrees fully.
    """
    total = sum(tensor.array.size for tensor in served.outputs)
    if not total:
        return 1.0
    pairs = comparable(served, shadow)
    return sum(nearness(*pair, tolerance=tolerance, pause=pause).alike_n for pair in pairs) / total


def comparable(served: InferenceResponse, shadow: InferenceResponse) -> list[tuple[Tensor, Tensor]]:
    """The outputs that both have, in one shape and datatype."""
    shadows = {tensor.name: tensor for tensor in shadow.outputs}
    return [
        (tensor, other)
        for tensor in served.outputs
        if (other := shadows.get(tensor.name)) is not None
        and other.array.shape == tensor.array.shape
        and other.datatype == tensor.datatype
    ]


def part(tensor: Tensor, flat: NDArray[Any], start: int, step: int) -> NDArray[Any]:
    """`step` numbers or rows of a tensor, from `start` on; `flat` is its array, in one dimension or as it is."""
    return wide(Tensor(tensor.name, tensor.datatype, flat[start : start + step]))


def _near(served: NDArray[Any], shadow: NDArray[Any], bound: Tolerance) -> Nearness:
    served, shadow = served.astype(np.float64), shadow.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        distance, size = np.abs(served - shadow), np.abs(served)
        is_number = np.isfinite(distance)
        close = is_number & (distance <= bound.absolute + bound.relative * size)
        apart = distance[is_number]
        ratios = apart / size[is_number]
    same = (served == shadow) | (np.isnan(served) & np.isnan(shadow))  # infinities and NaN agree with themselves
    ratios = ratios[np.isfinite(ratios)]  # nothing is relative to 0
    alike_n = int(np.count_nonzero(close | same))
    return Nearness(alike_n, float(apart.max(initial=0.0)), float(ratios.max(initial=0.0)))


def _near_few(served: list[float], shadow: list[float], bound: Tolerance) -> Nearness:
    """As `_near`, number by number."""
    alike_n, max_abs, max_rel = 0, 0.0, 0.0
    for one, other in zip(served, shadow, strict=True):
        distance, size = abs(one - other), abs(one)
        if isfinite(distance):
            alike_n += distance <= bound.absolute + bound.relative * size
            max_abs = max(max_abs, distance)
            ratio = distance / size if size else inf
            max_rel = max(max_rel, ratio if isfinite(ratio) else 0.0)
        else:
            alike_n += one == other or (isnan(one) and isnan(other))
    return Nearness(alike_n, max_abs, max_rel)
