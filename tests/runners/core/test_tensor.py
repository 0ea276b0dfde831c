"""How much memory tensors hold."""

import numpy as np
import pytest

from runners.core.tensor import Tensor, bytes_of

POINTER, OBJECT = 8, 33


def texts(content: list[bytes]) -> Tensor:
    array = np.empty(len(content), object)
    array[:] = content
    return Tensor("s", "BYTES", array)


def test_numbers_take_their_itemsize():
    x, y = Tensor("x", "FP32", np.zeros((3, 5), np.float32)), Tensor("y", "BOOL", np.zeros(7, bool))
    assert bytes_of((x, y)) == 67


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 100_000])
def test_texts_take_their_content_too(count):
    """Fifty bytes each, however many: few are counted, many are estimated from some of them."""
    assert bytes_of([texts([b"x" * 50] * count)]) == count * (POINTER + OBJECT + 50)


def test_few_texts_are_counted_one_by_one():
    assert bytes_of([texts([b"", b"x" * 1_000_000])]) == 2 * (POINTER + OBJECT) + 1_000_000
