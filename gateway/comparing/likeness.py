"""All that is said of a pair of answers: validity, elements, labels, order."""

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.comparing.ranks import overlap_at, rank_biased_overlap, tau_b
from gateway.comparing.tensors import FEW_N, SLICE_N, TEXTS_N, Nearness, comparable, go_on, nearness, part
from gateway.comparing.tolerance import BY_DATATYPE, Tolerance
from runners.core.checks import wide
from runners.core.tensor import InferenceResponse, Tensor

Pairs = list[tuple[Tensor, Tensor]]

LISTS_N = 64  # orders of an answer that are compared, from the first row
ITEMS_N = 256  # items of each: tau takes the square of it in steps


class Likeness(Struct, frozen=True):
    """How alike a shadow's answer is to the one that was served.

    `agreement` is the share of the served elements that are alike, `max_abs` and `max_rel` the largest distances of
    finite numbers. `invalid` says what makes the answer unusable in the served one's place: names, shape, datatype,
    nan; "" for nothing. Of `labels_n` labels `flips_n` are another. `lists_n` orders were compared, and `tau`, `rbo`
    and `overlap` are their means; 1 where there were none.
    """

    agreement: float
    max_abs: float = 0.0
    max_rel: float = 0.0
    invalid: str = ""
    labels_n: int = 0
    flips_n: int = 0
    lists_n: int = 0
    tau: float = 1.0
    rbo: float = 1.0
    overlap: float = 1.0


def likeness(
    served: InferenceResponse,
    shadow: InferenceResponse,
    *,
    tolerance: Tolerance | None = None,
    pause: Callable[[], None] = go_on,
) -> Likeness:
    """Compare a pair. Elements as `tensors.nearness`; what is a label and what an order is said at `_labels`, `_lists`.

    `pause` is called after each slice and each order; what it raises ends the comparison.
    """
    pairs = comparable(served, shadow)
    total = sum(tensor.array.size for tensor in served.outputs)
    found = Nearness()
    for pair in pairs:
        found += nearness(*pair, tolerance=tolerance, pause=pause)
    labels_n, flips_n = _flips(pairs, pause)
    orders = []
    for left, right in _lists(pairs):
        orders.append(_order(left, right))
        pause()
    tau, rbo, overlap = [sum(each) / len(orders) for each in zip(*orders, strict=True)] or (1.0, 1.0, 1.0)
    return Likeness(
        agreement=found.alike_n / total if total else 1.0,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        invalid=_invalid(served, shadow, pairs, pause),
        labels_n=labels_n,
        flips_n=flips_n,
        lists_n=len(orders),
        tau=tau,
        rbo=rbo,
        overlap=overlap,
    )


def _invalid(served: InferenceResponse, shadow: InferenceResponse, pairs: Pairs, pause: Callable[[], None]) -> str:
    """The first of what a caller of the served model could not live with. Further outputs are no matter."""
    shadows = {tensor.name: tensor for tensor in shadow.outputs}
    for tensor in served.outputs:
        other = shadows.get(tensor.name)
        if other is None:
            return "names"
        if other.datatype != tensor.datatype:
            return "datatype"
        if other.array.shape != tensor.array.shape:
            return "shape"
    return "nan" if any(_breaks(*pair, pause) for pair in pairs) else ""


def _breaks(served: Tensor, shadow: Tensor, pause: Callable[[], None]) -> bool:
    """Whether the shadow has NaN or an infinity where the served answer has a number."""
    if served.datatype not in BY_DATATYPE:
        return False
    left, right = served.array.reshape(-1), shadow.array.reshape(-1)
    for start in range(0, left.size, SLICE_N):
        other = part(shadow, right, start, SLICE_N)
        if other.size > FEW_N or not isfinite(sum(other.tolist())):
            if np.any(~np.isfinite(other) & np.isfinite(part(served, left, start, SLICE_N))):
                return True
            pause()
    return False


def _flips(pairs: Pairs, pause: Callable[[], None]) -> tuple[int, int]:
    labels_n = flips_n = 0
    for pair in pairs:
        for one, other in _labels(*pair):
            labels_n += one.size
            flips_n += int(np.count_nonzero(one != other))
            pause()
    return labels_n, flips_n


def _labels(served: Tensor, shadow: Tensor) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Of two scores or more in a row the best one's place; of integers, BOOL and BYTES, one in a row, the value.

    A slice at a time, but never less than a row.
    """
    if served.datatype in BY_DATATYPE:
        if served.array.ndim != 2 or served.array.shape[1] < 2:
            return
        step = max(1, SLICE_N // served.array.shape[1])
        for start in range(0, len(served.array), step):
            one, other = (part(tensor, tensor.array, start, step) for tensor in (served, shadow))
            yield one.argmax(axis=1), other.argmax(axis=1)
    elif _is_column(served):
        left, right = served.array.reshape(-1), shadow.array.reshape(-1)
        step = TEXTS_N if served.datatype == "BYTES" else SLICE_N
        for start in range(0, left.size, step):
            yield left[start : start + step], right[start : start + step]


def _lists(pairs: Pairs) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Rows of three or more scores, or of two or more ids; and a column of two or more scores, an item a row."""
    for served, shadow in pairs:
        is_scores = served.datatype in BY_DATATYPE
        left, right = served.array, shadow.array
        if _is_column(served):
            if is_scores and left.size > 1:
                yield _floats(served, left.reshape(-1)[:ITEMS_N]), _floats(shadow, right.reshape(-1)[:ITEMS_N])
        elif left.ndim == 2 and left.shape[1] > 2 - (not is_scores):
            left, right = left[:LISTS_N, :ITEMS_N], right[:LISTS_N, :ITEMS_N]
            if is_scores:
                left, right = _floats(served, left), _floats(shadow, right)
            yield from zip(left, right, strict=True)


def _order(left: NDArray[Any], right: NDArray[Any]) -> tuple[float, float, float]:
    """Tau, rank-biased overlap and overlap of two score vectors, or of two lists of ids."""
    if left.dtype.kind == "f":
        best, other = _best_first(left), _best_first(right)
        tau = tau_b(left, right)
    else:
        best, other = left.tolist(), right.tolist()
        tau = _tau_of_lists(best, other)
    return tau, rank_biased_overlap(best, other)[1], overlap_at(best, other)


def _best_first(scores: NDArray[Any]) -> list[int]:
    """The places of the scores from the best on; ties in their order, NaN last."""
    listed: list[float] = scores.tolist() if scores.size <= FEW_N else []
    if listed and isfinite(sum(listed)):
        return sorted(range(len(listed)), key=listed.__getitem__, reverse=True)
    places: list[int] = np.argsort(-scores, kind="stable").tolist()
    return places


def _tau_of_lists(left: list[Any], right: list[Any]) -> float:
    """Tau of the items that both lists have; 0 when they share none."""
    places = {item: place for place, item in enumerate(right)}
    found = [places[item] for item in left if item in places]
    if not found:
        return 0.0
    return tau_b(np.arange(len(found), dtype=np.float64), np.array(found, np.float64))


def _is_column(tensor: Tensor) -> bool:
    shape = tensor.array.shape
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _floats(tensor: Tensor, some: NDArray[Any]) -> NDArray[Any]:
    """Some of the numbers of a tensor as FP64."""
    return wide(Tensor(tensor.name, tensor.datatype, some)).astype(np.float64)
