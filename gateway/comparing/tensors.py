"""How alike two answers are, element by element."""

import numpy as np
from numpy.typing import NDArray

from runners.core.tensor import InferenceResponse, Tensor

TOLERANCE = 1e-3  # absolute and relative; two runtimes' float noise lies well below, a changed answer well above


def agreement(served: InferenceResponse, shadow: InferenceResponse) -> float:
    """Share of the served elements that the shadow gives alike; outputs are matched by name.

    Numbers agree within TOLERANCE, absolute or relative to the served value; everything else must be equal. An output
    that is missing, or of another shape or datatype, disagrees wholly. Nothing served agrees fully. In [0, 1].
    """
    shadows = {tensor.name: tensor for tensor in shadow.outputs}
    total = sum(tensor.array.size for tensor in served.outputs)
    if not total:
        return 1.0
    return sum(_alike_n(tensor, shadows.get(tensor.name)) for tensor in served.outputs) / total


def _alike_n(served: Tensor, shadow: Tensor | None) -> int:
    if shadow is None or shadow.array.shape != served.array.shape or shadow.datatype != served.datatype:
        return 0
    if served.array.dtype.kind != "f":
        return int(np.count_nonzero(served.array == shadow.array))
    return _close_n(served.array.astype(np.float64), shadow.array.astype(np.float64))


def _close_n(served: NDArray[np.float64], shadow: NDArray[np.float64]) -> int:
    with np.errstate(invalid="ignore"):
        close = np.isfinite(served) & (np.abs(served - shadow) <= TOLERANCE * np.maximum(1.0, np.abs(served)))
    same = (served == shadow) | (np.isnan(served) & np.isnan(shadow))  # infinities and NaN agree with themselves
    return int(np.count_nonzero(close | same))
