"""How alike two answers are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comparing.tensors import SLICE_N, agreement
from runners.core.tensor import DATATYPES, InferenceResponse, Tensor


def answer(*tensors: tuple[str, object, str]) -> InferenceResponse:
    return InferenceResponse(tuple(Tensor(name, dtype, np.asarray(values)) for name, values, dtype in tensors))


FLOATS = ("p", np.array([0.1, 0.9], np.float32), "FP32")


@pytest.mark.parametrize(
    ("served", "shadow", "expected"),
    [
        ([FLOATS], [FLOATS], 1.0),
        ([FLOATS], [("p", np.array([0.1, 0.8], np.float32), "FP32")], 0.5),
        ([FLOATS], [("p", np.array([0.100005, 0.9], np.float32), "FP32")], 1.0),
        ([("p", [2e7], "FP64")], [("p", [2e7 + 1], "FP64")], 1.0),
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


@given(st.integers(1, 3 * SLICE_N), st.data())
def test_slices_find_every_difference_once(size, data):
    """Wherever the answers differ, at the seams too."""
    places = data.draw(st.sets(st.integers(0, size - 1), max_size=20))
    served, shadow = np.zeros(size, np.int32), np.zeros(size, np.int32)
    shadow[list(places)] = 1

    assert agreement(answer(("y", served, "INT32")), answer(("y", shadow, "INT32"))) == (size - len(places)) / size


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_agrees_with_itself_and_not_with_other_values(datatype):
    dtype = DATATYPES[datatype].numpy
    one, other = (np.array([b"a"], object), np.array([b"b"], object)) if datatype == "BYTES" else _patterns(datatype)

    assert agreement(answer(("y", one.astype(dtype), datatype)), answer(("y", one.astype(dtype), datatype))) == 1.0
    assert agreement(answer(("y", one.astype(dtype), datatype)), answer(("y", other.astype(dtype), datatype))) == 0.0


@pytest.mark.parametrize(
    ("served", "shadow", "expected"),
    [
        (0x447A, 0x447A, 1.0),  # 1000
        (0x3F80, 0x3F81, 1.0),  # 1 and 1.0078125, the next of them: the same, as far as its 8 bits can tell
        (0x3F80, 0x3F83, 0.0),  # 1 and 1.0234375
        (0x0001, 0x0000, 1.0),  # the least there is, and 0: other bits, and nothing between them
        (0x7FC0, 0x7FC1, 1.0),  # NaN, written in two ways
        (0x7F80, 0xFF80, 0.0),  # both infinities
        (0x0000, 0x8000, 1.0),  # 0 and -0
    ],
)
def test_bf16_is_compared_by_value(served, shadow, expected):
    """Its bit patterns are only how it is held."""
    one, other = (("y", np.array([bits], np.uint16), "BF16") for bits in (served, shadow))
    assert agreement(answer(one), answer(other)) == expected


def _patterns(datatype: str) -> tuple[np.ndarray, np.ndarray]:
    return (np.array([0x3F80]), np.array([0x4000])) if datatype == "BF16" else (np.array([1]), np.array([0]))
