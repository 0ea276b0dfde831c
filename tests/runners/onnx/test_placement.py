"""Which models may run where everybody waits."""

import pytest

from runners.core.tensor import Signature, TensorSpec
from runners.onnx.graph import GraphFacts
from runners.onnx.placement import loop_elements, place
from runners.onnx.warmup import WarmUp

SMALL = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 2)),))


def facts(*operators):
    return GraphFacts(9, (("", 17),), "", frozenset(operators), len(operators), (), frozenset())


def placed(signature=SMALL, operators=(("", "MatMul"),), provider="cpu", slowest_s=0.0001, background=False):
    return place(signature, facts(*operators), provider, WarmUp(8, slowest_s), background=background)


def test_a_small_model_of_fixed_shape_runs_on_the_loop():
    """Thirty microseconds of hop are saved where they would be most of the time."""
    placement = placed(operators=(("", "MatMul"), ("ai.onnx.ml", "LinearClassifier")))
    assert (True, "", pytest.approx(0.1)) == (placement.on_loop, placement.why, placement.warm_up_ms)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"background": True}, "no client waits for it"),
        ({"provider": "cuda"}, "it runs on cuda"),
        ({"operators": [("com.microsoft", "FusedMatMul")]}, "it uses operators of com.microsoft"),
        ({"operators": [("", "Loop"), ("", "If"), ("", "Abs")]}, "it uses If, Loop, whose cost no shape tells"),
        ({"operators": [("", "Range")]}, "it uses Range, whose cost no shape tells"),
        ({"operators": [("", "Tile")]}, "it uses Tile, whose cost no shape tells"),
        ({"slowest_s": 0.0002}, "8 rows took 0.200 ms"),
        ({"slowest_s": float("inf")}, "8 rows took inf ms"),
        (
            {"signature": Signature((TensorSpec("x", "FP32", (-1, -1)),), ())},
            "not all dimensions but the first are fixed",
        ),
        (
            {"signature": Signature((), (TensorSpec("y", "FP32", (1, -1)),))},
            "not all dimensions but the first are fixed",
        ),
        (
            {"signature": Signature((TensorSpec("x", "BYTES", (-1,)),), ())},
            "it takes texts, which may be of any length",
        ),
    ],
)
def test_whatever_might_keep_the_others_waiting_runs_in_a_thread(how, why):
    """And `inspect` says what it was."""
    placement = placed(**how)
    assert (False, why) == (placement.on_loop, placement.why)


def test_only_as_much_as_was_warmed_up_with_comes_onto_the_loop():
    """Eight rows, or the fixed shape, of every input for itself."""
    signature = Signature(
        (TensorSpec("x", "FP32", (-1, 4)), TensorSpec("w", "FP32", (100, 3)), TensorSpec("n", "INT64", ())), ()
    )
    assert {"x": 32, "w": 300, "n": 1} == dict(loop_elements(signature))
