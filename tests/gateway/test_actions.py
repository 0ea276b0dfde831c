"""Which answers are actions."""

import numpy as np
import pytest

from gateway.actions import Action
from runners.core.tensor import Tensor

LABEL = Tensor("label", "BYTES", np.array([b"allow", b"block"], object))
SCORE = Tensor("score", "FP32", np.array([[0.2], [0.9]], np.float32))
CLASS = Tensor("class", "INT64", np.array([3, 7]))
FLAG = Tensor("flag", "BOOL", np.array([False, False]))


@pytest.mark.parametrize(
    ("output", "terms", "expected"),
    [
        ("label", {"equals": b"block"}, True),
        ("label", {"equals": b"review"}, False),
        ("score", {"above": 0.8}, True),
        ("score", {"above": 0.95}, False),
        ("score", {"below": 0.25}, True),
        ("score", {"below": 0.1}, False),
        ("class", {"equals": 7}, True),
        ("class", {"equals": 8}, False),
        ("flag", {"equals": False}, True),
        ("flag", {"equals": True}, False),
    ],
)
def test_one_row_is_enough(output, terms, expected):
    """An answer to two rows is one answer, and an action if either is."""
    assert expected is Action("action:a", output, **terms).is_in((LABEL, SCORE, CLASS, FLAG))


def test_an_answer_without_the_output_is_none():
    """A client may ask for some of the outputs."""
    assert not Action("action:a", "label", equals=b"block").is_in((SCORE,))


def test_no_rows_are_no_action():
    assert not Action("action:a", "x", below=1.0).is_in((Tensor("x", "FP32", np.zeros((0, 1), np.float32)),))
