"""How alike two answers are."""

import numpy as np
import pytest

from gateway.comparing.tensors import agreement
from runners.core.tensor import InferenceResponse, Tensor


def answer(*tensors: tuple[str, object, str]) -> InferenceResponse:
    return InferenceResponse(tuple(Tensor(name, dtype, np.asarray(values)) for name, values, dtype in tensors))


FLOATS = ("p", np.array([0.1, 0.9], np.float32), "FP32")


@pytest.mark.parametrize(
    ("served", "shadow", "expected"),
    [
        ([FLOATS], [FLOATS], 1.0),
        ([FLOATS], [("p", np.array([0.1, 0.8], np.float32), "FP32")], 0.5),
        ([FLOATS], [("p", np.array([0.1004, 0.9], np.float32), "FP32")], 1.0),
        ([("p", [2000.0], "FP64")], [("p", [2001.0], "FP64")], 1.0),
        ([FLOATS], [("p", np.array([[0.1, 0.9]], np.float32), "FP32")], 0.0),
        ([FLOATS], [("other", np.array([0.1, 0.9], np.float32), "FP32")], 0.0),
        ([("label", [1, 2], "INT64"), FLOATS], [("label", [1, 3], "INT64"), FLOATS], 0.75),
        ([("p", [1, 2], "INT64")], [("p", [1.0, 2.0], "FP64")], 0.0),
        ([("p", [np.nan, np.inf], "FP64")], [("p", [np.nan, np.inf], "FP64")], 1.0),
        ([("p", [np.nan, np.inf], "FP64")], [("p", [0.0, -np.inf], "FP64")], 0.0),
        ([("s", np.array([b"a", b"b"], object), "BYTES")], [("s", np.array([b"a", b"c"], object), "BYTES")], 0.5),
        ([("p", np.zeros((0, 3)), "FP64")], [], 1.0),
    ],
)
def test_agreement_is_the_share_of_elements_alike(served, shadow, expected):
    assert agreement(answer(*served), answer(*shadow)) == expected
