"""What is said of a pair of answers: validity, distance, labels, order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comparing import likeness as likeness_module
from gateway.comparing import ranks, tensors
from gateway.comparing.likeness import ITEMS_N, LISTS_N, likeness
from gateway.comparing.tolerance import Tolerance
from runners.core.tensor import InferenceResponse, Tensor


def answer(values: object, dtype: str = "FP32", name: str = "y") -> InferenceResponse:
    numpy = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "BYTES": object}[dtype]
    return InferenceResponse((Tensor(name, dtype, np.array(values, numpy)),))


SCORES = [[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]


def test_equal_answers_are_alike_in_every_respect():
    found = likeness(answer(SCORES), answer(SCORES))

    assert (found.agreement, found.max_abs, found.invalid) == (1.0, 0.0, "")
    assert (found.labels_n, found.flips_n, found.lists_n) == (2, 0, 2)
    assert (found.tau, found.rbo, found.overlap) == pytest.approx((1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("served", "shadow", "labels"),
    [
        (answer(SCORES), answer([[0.1, 0.7, 0.2], [0.3, 0.5, 0.2]]), (2, 1)),  # another class is best
        (answer(SCORES), answer([[0.0, 0.9, 0.1], [0.4, 0.3, 0.3]]), (2, 0)),  # other scores, the same classes
        (answer([3, 4], "INT64"), answer([3, 5], "INT64"), (2, 1)),
        (answer([[b"cat"], [b"dog"]], "BYTES"), answer([[b"cat"], [b"cow"]], "BYTES"), (2, 1)),
        (answer([0.2, 0.9]), answer([0.9, 0.2]), (0, 0)),  # one score a row is no choice of a class
    ],
)
def test_a_label_flips_when_another_is_the_answer(served, shadow, labels):
    found = likeness(served, shadow)
    assert (found.labels_n, found.flips_n) == labels


@pytest.mark.parametrize(
    ("served", "shadow", "order"),
    [
        (answer([0.9, 0.7, 0.5, 0.3, 0.1]), answer([0.7, 0.9, 0.5, 0.3, 0.1]), (1, 0.8, 0.9, 1.0)),  # items are rows
        (answer([[0.9], [0.5]]), answer([[0.5], [0.9]]), (1, -1.0, 0.9, 1.0)),
        (answer([[5, 4, 3, 2, 1]]), answer([[4, 5, 3, 2, 1]]), (1, 0.8, 0.9, 1.0)),  # items are columns
        (answer([[1, 2], [3, 4]], "INT64"), answer([[1, 2], [5, 6]], "INT64"), (2, 0.5, 0.5, 0.5)),  # lists of ids
    ],
)
def test_orders_are_compared_as_orders(served, shadow, order):
    found = likeness(served, shadow)
    assert (found.lists_n, found.tau, found.rbo, found.overlap) == pytest.approx(order)


@pytest.mark.parametrize(
    ("shadow", "invalid"),
    [
        (answer(SCORES, name="z"), "names"),
        (answer(SCORES, "FP64"), "datatype"),
        (answer([SCORES]), "shape"),
        (answer([[0.1, np.nan, 0.2], [0.5, 0.3, 0.2]]), "nan"),
        (answer([[0.1, np.inf, 0.2], [0.5, 0.3, 0.2]]), "nan"),
        (InferenceResponse((*answer(SCORES).outputs, *answer([1], "INT64", "more").outputs)), ""),
    ],
)
def test_what_could_not_stand_in_is_invalid_and_says_why(shadow, invalid):
    """Outputs that nobody asked the served model for are no matter."""
    assert likeness(answer(SCORES), shadow).invalid == invalid


def test_nan_that_the_served_answer_has_too_is_no_news():
    nan = [[0.1, np.nan, 0.2]]
    assert (likeness(answer(nan), answer(nan)).invalid, likeness(answer(nan), answer(nan)).agreement) == ("", 1.0)


def test_distances_are_the_largest_of_finite_numbers():
    found = likeness(answer([1.0, 2.0, 0.0, np.inf], "FP64"), answer([1.5, 2.0, 0.25, 1.0], "FP64"))
    assert (found.max_abs, found.max_rel) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("written", "agreement"), [(None, 0.0), (Tolerance(0.0, 0.01), 1.0), (Tolerance(0.01, 0.0), 1.0)]
)
def test_a_written_tolerance_takes_the_place_of_the_datatypes(written, agreement):
    assert likeness(answer([1.0]), answer([1.001]), tolerance=written).agreement == agreement


def test_long_answers_are_ordered_in_part():
    """A batch of long lists takes a bounded time: the first of each."""
    wide = np.random.default_rng(7).random((LISTS_N + 3, ITEMS_N + 9), np.float32)
    other = wide.copy()
    other[LISTS_N:] = 0
    other[:, ITEMS_N:] = 0
    pauses: list[None] = []

    found = likeness(answer(wide), answer(other), pause=lambda: pauses.append(None))

    assert (found.lists_n, found.tau) == (LISTS_N, pytest.approx(1.0))
    assert len(pauses) > LISTS_N


ODD = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-6, -2.5, 1e308, -1e308, 5e-324, np.inf, -np.inf, np.nan])


@given(st.integers(1, 4), st.integers(1, 9), st.data())
def test_a_few_numbers_are_compared_as_many_are(rows_n, columns_n, data):
    """Small answers are gone through in Python, on the event loop; what is said of them is what numpy would say."""
    size = rows_n * columns_n
    few, other = (np.array(data.draw(st.lists(ODD, min_size=size, max_size=size))) for _ in range(2))
    pair = [answer(numbers.reshape(rows_n, columns_n), "FP64") for numbers in (few, other)]
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        told = likeness(*pair)
        for module in (likeness_module, ranks, tensors):
            patch.setattr(module, "FEW_N", -1)
        assert likeness(*pair) == told


@pytest.mark.parametrize("columns_n", [3, 40_000, 150_000])
def test_slices_of_a_large_answer_are_seen_once_each(columns_n):
    """Labels, and numbers that are none, wherever they stand; and whoever waits is let in again and again."""
    served = np.zeros((150_000 // columns_n, columns_n))
    served[:, 1] = 1.0
    shadow, pauses = served.copy(), []
    shadow[-1] = 0.0
    found = likeness(answer(served, "FP64"), answer(shadow, "FP64"), pause=lambda: pauses.append(1))
    assert (found.labels_n, found.flips_n, found.invalid, len(pauses) > 10) == (len(served), 1, "", True)

    shadow[-1, -1] = np.nan
    assert likeness(answer(served, "FP64"), answer(shadow, "FP64")).invalid == "nan"


def test_labels_of_many_rows_are_compared_slice_by_slice():
    served = np.array([b"cat"] * 3_000, object)
    shadow = served.copy()
    shadow[[0, 1_023, 1_024, 2_999]] = b"dog"
    found = likeness(answer(served, "BYTES"), answer(shadow, "BYTES"))
    assert (found.labels_n, found.flips_n) == (3_000, 4)
