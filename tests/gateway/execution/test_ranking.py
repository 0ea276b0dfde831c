"""Models that score what they are given: the baseline's scores dealt again, so that sorting gives the merged list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.execution.outcome import Routed
from gateway.execution.ranking import NotMerged, merge_lists
from runners.core.tensor import InferenceRequest, InferenceResponse, Tensor
from strategies.core.arm import Arm, Role
from strategies.core.merge import Merge, Mode
from strategies.core.plan import Decision, Plan, RequestFacts
from strategies.interleaving.coins import HashedCoins
from strategies.interleaving.team_draft import team_draft

SERVE = (Arm(0, "old", Role.BASELINE, ""), Arm(1, "new", Role.CANDIDATE, ""))
SCORED = Merge(Mode.MERGE, items="item", scores="score", aligned=("why",), k=10)


class Salted:
    coin_salt = "s"


def routed(items, event_id: str = "e") -> Routed:
    request = InferenceRequest("r", (Tensor("item", "INT64", np.array(items, np.int64)),))
    return Routed(request, Salted(), RequestFacts(event_id, "", 0), Decision(Plan(None, SERVE)), 0.0)


def scored(scores, ranker: int = 0, dtype: str = "FP32") -> InferenceResponse:
    array = np.array(scores, {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "FP16": np.float16}[dtype])
    why = np.full(array.shape, ranker, np.int32)
    return InferenceResponse((Tensor("score", dtype, array), Tensor("why", "INT32", why)))


def falling(items, scores):
    return [item for _, item in sorted(zip(scores, items, strict=True), key=lambda pair: -pair[0])]


FLOATS = st.floats(-1e6, 1e6, width=32)
TASKS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.permutations(range(n)), st.lists(FLOATS, min_size=n, max_size=n), st.lists(FLOATS, min_size=n, max_size=n)
    )
)


@given(TASKS, st.text(max_size=4), st.integers(1, 12))
def test_whoever_sorts_by_the_scores_gets_the_merged_list(task, event_id, k):
    """Equal scores included: of two, the lower one falls by the least there is."""
    items, old, new = task
    request = routed([items], event_id)
    (score, why), (shown,) = merge_lists(request, replace(SCORED, k=k), [scored([old]), scored([new], 1)])

    lists = (falling(items, old)[:k], falling(items, new)[:k])
    merged = team_draft(lists, k, HashedCoins("s", event_id, 0))
    assert shown.items == tuple(map(str, merged.items))
    again = falling(items, score.array[0].tolist())
    assert again == [*merged.items, *(item for item in falling(items, old) if item not in merged.items)]
    whose = dict(zip(merged.items, [1 if share and share[1] else 0 for share in merged.shares], strict=True))
    assert why.array[0].tolist() == [whose.get(item, 0) for item in items]


@given(TASKS)
def test_scores_are_the_baselines_own(task):
    """Nothing is invented: the same numbers, where no two are equal."""
    items, old, new = task
    old = [number + place * 1e7 for place, number in enumerate(old)]
    (score, _), _ = merge_lists(routed([items]), SCORED, [scored([old], dtype="FP64"), scored([new], dtype="FP64")])

    assert sorted(score.array[0].tolist()) == sorted(old)


@pytest.mark.parametrize("dtype", ["FP16", "FP32", "FP64"])
def test_equal_scores_fall_apart_by_the_least_there_is(dtype):
    (score, _), _ = merge_lists(
        routed([[1, 2, 3]]), SCORED, [scored([[1, 1, 1]], 0, dtype), scored([[3, 2, 1]], 1, dtype)]
    )
    one = score.array.dtype.type(1)
    next_ = np.nextafter(one, score.array.dtype.type(0))

    assert sorted(score.array[0].tolist(), reverse=True)[:2] == [one, next_]


def test_equal_whole_numbers_are_left_alone():
    with pytest.raises(NotMerged) as caught:
        merge_lists(routed([[1, 2]]), SCORED, [scored([[5, 5]], 0, "INT32"), scored([[1, 2]], 1, "INT32")])
    assert (caught.value.code, caught.value.ranker) == ("ties", 0)


def test_one_list_without_rows_is_merged_too():
    (score, _), (shown,) = merge_lists(routed([7, 8, 9]), SCORED, [scored([3, 2, 1]), scored([3, 2, 1], 1)])

    assert (score.shape, shown.items, shown.shares) == ((3,), ("7", "8", "9"), ((), (), ()))


@pytest.mark.parametrize(
    ("items", "old", "new", "code", "ranker"),
    [
        ([[1, 2]], [[1, 2]], [[1, float("nan")]], "invalid_output", 1),
        ([[1, 2]], [[1, 2]], [[1, 2, 3]], "invalid_output", 1),
        ([[1, 2]], [[float("nan"), 2]], [[1, 2]], "invalid_output", 0),
        ([[1, 1]], [[1, 2]], [[1, 2]], "repeats", 0),
        ([[1, 2, 3]], [[1, 2]], [[1, 2]], "shape", 0),
        ([[[1]]], [[[1]]], [[[1]]], "shape", 0),
        ([list(range(20_001))], [list(range(20_001))], [[1]], "too_large", 0),
    ],
)
def test_what_cannot_be_merged_says_why_and_whose_fault_it_is(items, old, new, code, ranker):
    with pytest.raises(NotMerged) as caught:
        merge_lists(routed(items), SCORED, [scored(old), scored(new, 1)])
    assert (caught.value.code, caught.value.ranker) == (code, ranker)


def test_what_is_said_of_items_may_have_dimensions_of_its_own():
    merge = Merge(Mode.MERGE, ids="ids", aligned=("box",), k=2)

    def answer(ranker: int, ids: list[int]) -> InferenceResponse:
        box = np.array([[[100 * ranker + each, ranker] for each in ids]], np.float32)
        return InferenceResponse((Tensor("ids", "INT64", np.array([ids])), Tensor("box", "FP32", box)))

    (ids, box), (shown,) = merge_lists(routed([[0]]), merge, [answer(1, [1, 2]), answer(2, [3, 4])])

    whose = [share.index(1) + 1 for share in shown.shares]
    assert box.array[0].tolist() == [[100 * r + each, r] for r, each in zip(whose, ids.array[0].tolist(), strict=True)]


def test_an_aligned_output_of_another_shape_is_no_aligned_output():
    merge = Merge(Mode.MERGE, ids="ids", aligned=("box",), k=2)
    ids = Tensor("ids", "INT64", np.array([[1, 2]]))
    box = Tensor("box", "FP32", np.zeros((1, 3), np.float32))
    with pytest.raises(NotMerged) as caught:
        merge_lists(routed([[0]]), merge, [InferenceResponse((ids, box))] * 2)
    assert (caught.value.code, caught.value.ranker) == ("shape", 0)
