"""Lists in tensors: what rankers ranked is read out of their answers, merged, and put back in the baseline's form.

A tensor of shape (rows, n) holds a list a row, one of shape (n) a single list. The answer has the baseline's shapes and
datatypes: as many items as the baseline gave, the first k of them dealt, those below in the baseline's order.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from gateway.execution.outcome import Impression, Routed
from runners.core.tensor import InferenceResponse, Tensor
from strategies.core.merge import Merge, Method
from strategies.interleaving.coins import Coins, HashedCoins
from strategies.interleaving.merged import Merged
from strategies.interleaving.probabilistic import probabilistic
from strategies.interleaving.team_draft import team_draft

PLACES_LIMIT = 1_000  # dealt for one request: some 4 ms, in which nobody else is served
ITEMS_LIMIT = 20_000  # in one tensor, for the same reason
TEXT_LIMIT = 128  # characters of an item's id, which events and tokens hold

# An item, and the ranker whose it is: the baseline's where it belongs to nobody.
Placed = list[tuple[Any, int]]
MERGERS: dict[Method, Callable[[Sequence[Sequence[Any]], int, Coins], Merged]] = {
    Method.TEAM_DRAFT: team_draft,
    Method.PROBABILISTIC: probabilistic,
}


class NotMerged(Exception):
    """Answers cannot become one. `code` is the reason; `ranker` is at fault, 0 for the baseline or the request."""

    def __init__(self, code: str, ranker: int = 0) -> None:
        super().__init__(f"{code}, ranker {ranker}")
        self.code, self.ranker = code, ranker


class Ranking(Struct, frozen=True):
    """One ranker's rows: items in its order, and for each the place in its tensors that tells of it."""

    items: list[list[Any]]
    places: list[dict[Any, int]]


def merge_lists(
    routed: Routed, merge: Merge, answers: Sequence[InferenceResponse]
) -> tuple[tuple[Tensor, ...], tuple[Impression, ...]]:
    """The baseline's outputs with merged lists, and what was shown. `answers` are the baseline's and its partners'.

    Raises NotMerged.
    """
    shape = _shape(_output(answers[0], merge.ranking, 0))
    rows_n, items_n = shape if len(shape) == 2 else (1, *shape)
    k = min(merge.k, items_n)
    if not rows_n * k:
        raise NotMerged("empty")
    if rows_n * items_n > ITEMS_LIMIT or rows_n * k > PLACES_LIMIT:
        raise NotMerged("too_large")
    rankings = [_ranking(routed, merge, answer, shape, ranker) for ranker, answer in enumerate(answers)]
    rankers = tuple([arm.name for arm in routed.decision.plan.serve])
    placed: list[Placed] = []
    impressions: list[Impression] = []
    for row in range(rows_n):
        coins = HashedCoins(routed.route.coin_salt, routed.facts.event_id, row)
        lists = [ranking.items[row][:k] for ranking in rankings]
        merged = MERGERS[merge.method](lists, k, coins)
        placed.append(_placed(merged, rankings[0].items[row]))
        shown = tuple([_text(item) for item in merged.items])
        texts = tuple([tuple([_text(item) for item in each]) for each in lists])
        impressions.append(Impression(row, shown, rankers, merged.shares, texts))
    return _written(routed, merge, answers, rankings, placed), tuple(impressions)


def _placed(merged: Merged, own: list[Any]) -> Placed:
    """All places: the merged ones, then what is left of the baseline's list, as long as that was."""
    placed = [(item, _owner(share)) for item, share in zip(merged.items, merged.shares, strict=True)]
    taken = set(merged.items)
    return [*placed, *((item, 0) for item in own if item not in taken)][: len(own)]


def _owner(share: tuple[Fraction, ...]) -> int:
    """Who has the largest part of a place, the first of several; the baseline for one of nobody."""
    for ranker, part in enumerate(share):
        if part == 1:  # as nearly all are: comparing fractions with each other takes longer
            return ranker
    return share.index(max(share)) if share else 0


def _ranking(routed: Routed, merge: Merge, answer: InferenceResponse, shape: tuple[int, ...], ranker: int) -> Ranking:
    tensor = _output(answer, merge.ranking, ranker)
    if tensor.shape != shape:
        raise NotMerged("invalid_output", ranker)
    rows = _rows(tensor)
    if merge.ids:
        _refuse_repeats(rows, ranker)
        return Ranking(rows, [{item: place for place, item in enumerate(row)} for row in rows])
    given = next((each for each in routed.request.inputs if each.name == merge.items), None)
    if given is None or given.shape != shape:
        raise NotMerged("shape")
    if tensor.datatype == "BF16":  # held as bits, whose order is not that of the numbers
        raise NotMerged("shape", ranker)
    items = _rows(given)
    _refuse_repeats(items, 0)
    ranked = [[row[place] for place in _falling(scores, ranker)] for row, scores in zip(items, rows, strict=True)]
    return Ranking(ranked, [{item: place for place, item in enumerate(row)} for row in items])


def _falling(scores: list[Any], ranker: int) -> list[int]:
    """Places of scores from the highest; of equal ones the first comes first. Raises NotMerged for a NaN."""
    if any(score != score for score in scores):  # noqa: PLR0124 - only NaN is unlike itself
        raise NotMerged("invalid_output", ranker)
    return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)


def _written(
    routed: Routed,
    merge: Merge,
    answers: Sequence[InferenceResponse],
    rankings: Sequence[Ranking],
    placed: Sequence[Placed],
) -> tuple[Tensor, ...]:
    wanted = routed.request.outputs or tuple([tensor.name for tensor in answers[0].outputs])
    moving, shape = (merge.ids, *merge.aligned), _output(answers[0], merge.ranking, 0).shape
    whose = np.array([[ranker for _, ranker in row] for row in placed], dtype=np.intp)
    source = [[rankings[ranker].places[row_at][item] for item, ranker in row] for row_at, row in enumerate(placed)]
    places = np.array(source, dtype=np.intp)
    targets = None if merge.ids else places  # a score stands where its item stands in the request
    outputs = []
    for name in wanted:
        own = _output(answers[0], name, 0)
        if name in moving:
            each = [_output(answer, name, ranker) for ranker, answer in enumerate(answers)]
            outputs.append(replace(own, array=_moved(each, shape, whose, places, targets)))
        elif name == merge.scores:
            outputs.append(replace(own, array=_dealt_again(own.array, places)))
        else:
            outputs.append(own)
    return tuple(outputs)


def _moved(
    tensors: Sequence[Tensor],
    shape: tuple[int, ...],
    whose: NDArray[Any],
    places: NDArray[Any],
    targets: NDArray[Any] | None,
) -> NDArray[Any]:
    """What the owner of each item says of it, at the item's place. `shape` is that of the lists."""
    own = tensors[0].array
    if own.shape[: len(shape)] != shape:
        raise NotMerged("shape")
    made = np.empty(whose.shape + own.shape[len(shape) :], own.dtype)
    rows = np.broadcast_to(np.arange(whose.shape[0])[:, None], whose.shape)
    to = np.broadcast_to(np.arange(whose.shape[1]), whose.shape) if targets is None else targets
    for ranker, tensor in enumerate(tensors):
        if tensor.shape != own.shape or tensor.datatype != tensors[0].datatype:
            raise NotMerged("invalid_output", ranker)
        mine = whose == ranker
        made[rows[mine], to[mine]] = tensor.array.reshape(made.shape)[rows[mine], places[mine]]
    return made.reshape(own.shape)


def _dealt_again(scores: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """The same scores, in the merged order: whoever sorts by them gets the list.

    Equal scores would leave that open, so that of several the lower ones fall by the least that their datatype can
    tell apart. Raises NotMerged where it can tell nothing between them.
    """
    made = np.empty_like(scores).reshape(places.shape)
    for row, own in enumerate(scores.reshape(places.shape)):
        falling = np.sort(own)[::-1].copy()
        for place in range(1, len(falling)):
            if falling[place] >= falling[place - 1]:
                if falling.dtype.kind != "f" or not np.isfinite(falling[place - 1]):
                    raise NotMerged("ties")
                falling[place] = np.nextafter(falling[place - 1], falling.dtype.type(-np.inf))
        made[row, places[row]] = falling
    return made.reshape(scores.shape)


def _output(answer: InferenceResponse, name: str, ranker: int) -> Tensor:
    for tensor in answer.outputs:
        if tensor.name == name:
            return tensor
    raise NotMerged("invalid_output" if ranker else "shape", ranker)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    if len(tensor.shape) not in (1, 2):
        raise NotMerged("shape")
    return tensor.shape


def _rows(tensor: Tensor) -> list[list[Any]]:
    array = tensor.array
    rows: list[list[Any]] = (array if array.ndim == 2 else array[None]).tolist()
    return rows


def _refuse_repeats(rows: list[list[Any]], ranker: int) -> None:
    for row in rows:
        if len(set(row)) != len(row):
            raise NotMerged("invalid_output" if ranker else "repeats", ranker)


def _text(item: object) -> str:
    text = item.decode(errors="backslashreplace") if isinstance(item, bytes) else str(item)
    if len(text) > TEXT_LIMIT:
        raise NotMerged("too_large")
    return text
