"""Words of a strategy that merges are held against what the baseline takes and gives."""

import pytest

from gateway.config.mergeable import merge_problems
from runners.core.tensor import Signature, TensorSpec
from strategies.core.arm import Arm, Role
from strategies.core.merge import Merge, Mode, Slots
from strategies.core.plan import Plan

SERVE = (Arm(0, "old", Role.BASELINE, ""), Arm(1, "new", Role.CANDIDATE, ""))
SIGNATURE = Signature(
    (TensorSpec("item", "INT64", (-1, -1)), TensorSpec("x", "FP32", (-1, 4))),
    (
        TensorSpec("ids", "BYTES", (-1, -1)),
        TensorSpec("score", "FP32", (-1, -1)),
        TensorSpec("deep", "INT64", (-1, 2, 3)),
        TensorSpec("score__1", "FP32", (-1,)),
        TensorSpec("ids__new", "BYTES", (-1,)),
        TensorSpec("half", "BF16", (-1, -1)),
    ),
)


def problems(unranked=(), **words):
    plan = Plan(None, SERVE, merge=Merge(**{"mode": Mode.MERGE} | words))
    return [(problem.path, problem.what) for problem in merge_problems(plan, SIGNATURE, unranked)]


@pytest.mark.parametrize("words", [{"ids": "ids", "aligned": ("score",)}, {"items": "item", "scores": "score"}])
def test_what_is_there_can_be_merged(words):
    assert problems(**words) == []


@pytest.mark.parametrize(
    ("words", "path", "what"),
    [
        ({"ids": "idz"}, ("ids",), "the baseline has no output 'idz'"),
        ({"ids": "item"}, ("ids",), "the baseline has no output 'item'"),
        ({"items": "ids", "scores": "score"}, ("items",), "the baseline has no input 'ids'"),
        ({"items": "x", "scores": "score"}, ("items",), "'x' is FP32, which says nothing of an order of items"),
        ({"ids": "score"}, ("ids",), "'score' is FP32, which says nothing of an order of items"),
        ({"items": "item", "scores": "half"}, ("scores",), "'half' is BF16, which says nothing of an order of items"),
        ({"ids": "deep"}, ("ids",), "'deep' has shape [-1, 2, 3], which is no list a row"),
        ({"ids": "ids", "aligned": ("ids", "no")}, ("aligned", 1), "the baseline has no output 'no'"),
        ({"mode": Mode.BOTH}, ("mode",), "the baseline has an output 'ids__new' of its own"),
        ({"mode": Mode.BOTH, "slots": Slots.BLIND}, ("mode",), "the baseline has an output 'score__1' of its own"),
    ],
)
def test_what_is_not_there_is_told_with_its_word(words, path, what):
    assert problems(**words) == [(path, what)]


def test_dimensions_that_a_file_leaves_open_are_no_mistake():
    assert problems(("deep",), ids="deep") == []


def test_a_plan_of_one_arm_merges_nothing():
    assert list(merge_problems(Plan(SERVE[0], SERVE[:1]), SIGNATURE)) == []
