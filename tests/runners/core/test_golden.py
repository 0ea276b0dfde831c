"""Golden requests: what a model must answer before it is let near a client."""

import json

import numpy as np
import pytest

from runners.core.checks import InputCheck, OutputCheck
from runners.core.errors import ExecutionFailed, LoadRefused
from runners.core.golden import check_golden, mismatch, read_golden
from runners.core.runner import OutputPolicy
from runners.core.tensor import Signature, Tensor, TensorSpec


def tensor(name, data, datatype="FP32"):
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "golden.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def case(written, expected, tolerance=None, datatype="FP32"):
    one = {"inputs": [tensor("x", [1])], "outputs": [tensor("y", expected, datatype)]}
    return read_golden(written([one | ({} if tolerance is None else {"tolerance": tolerance})]))[0]


def answer(values, dtype="<f4", datatype="FP32"):
    return (Tensor("y", datatype, np.array(values, dtype)),)


def test_a_golden_file_is_a_list_of_requests_and_answers(written):
    """An operator writes what a client would send."""
    found = case(written, [2.0])
    assert (("y",), 1e-4, [2.0]) == (found.request.outputs, found.tolerance, found.expected[0].array.tolist())


@pytest.mark.parametrize(
    ("got", "tolerance", "is_right"),
    [
        ([1.0, 2.0], None, True),
        ([1.00005, 2.0], None, True),
        ([1.001, 2.0], None, False),
        ([1.001, 2.0], 0.01, True),
        ([1.0, np.nan], 1e9, False),
        ([1.0, np.inf], 1e9, False),
    ],
)
def test_floats_are_compared_within_the_tolerance(written, got, tolerance, is_right):
    """Another build of the same model is still the same model."""
    assert is_right == (mismatch(case(written, [1.0, 2.0], tolerance), answer(got)) == "")


def test_nan_where_nan_is_expected_is_right(written):
    """A model that answers null on purpose may."""
    assert "" == mismatch(case(written, [None, 1.0]), answer([np.nan, 1.0]))


def test_all_but_floats_must_be_equal(written):
    """A label is right or wrong."""
    assert "" != mismatch(case(written, [1, 2], 10, "INT64"), answer([1, 3], "<i8", "INT64"))


def test_a_mismatch_says_where_what_and_how_much(written):
    """An operator reads which number is wrong."""
    told = mismatch(case(written, [1.0, 2.0, 3.0]), answer([1.0, 2.5, 4.0]))
    assert "output 'y' at [1] is 2.5, expected 2.0 within 0.0001; 2 of 3 elements differ" == told


def test_another_shape_is_a_mismatch(written):
    """Two numbers are not three."""
    assert "output 'y' is FP32 [2], expected FP32 [3]" == mismatch(case(written, [1, 2, 3]), answer([1, 2]))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "[1]",
        [{"inputs": []}],
        [{"inputs": [], "outputs": []}],
        [{"inputs": [], "outputs": [tensor("y", [1])], "tolerance": -1}],
        [{"inputs": [], "outputs": [tensor("y", [1])], "tolerence": 1}],
        [{"inputs": [tensor("x", [1], "FP16")], "outputs": [tensor("y", [1])]}],
        [{"inputs": [tensor("x", ["a"])], "outputs": [tensor("y", [1])]}],
        "[" * 10_000,
    ],
)
def test_a_file_that_is_no_golden_file_is_refused(written, content):
    """An operator hears of a mistake before the model is blamed."""
    with pytest.raises(LoadRefused, match=r"golden\.json"):
        read_golden(written(content))


SIGNATURE = Signature((TensorSpec("x", "FP32", (-1,)),), (TensorSpec("y", "FP32", (-1,)),))
CHECKS = InputCheck(SIGNATURE), OutputCheck(SIGNATURE, OutputPolicy())


def test_a_model_that_answers_as_expected_passes(written):
    """Nothing is said of what is right."""
    check_golden("m", (case(written, [2.0]),), lambda request: answer([2.0]), CHECKS)


def test_a_model_that_answers_otherwise_is_refused(written):
    """The wrong file never serves."""
    with pytest.raises(LoadRefused, match=r"m: failed golden request 1: output 'y' at \[0\] is 3.0, expected 2.0"):
        check_golden("m", (case(written, [2.0]),), lambda request: answer([3.0]), CHECKS)


def test_a_model_that_fails_is_refused(written):
    """Nor does one that raises."""

    def fail(request):
        raise ExecutionFailed("it broke")

    with pytest.raises(LoadRefused, match="m: failed golden request 1: it broke"):
        check_golden("m", (case(written, [2.0]),), fail, CHECKS)


def test_a_golden_request_that_does_not_fit_the_model_is_refused(written):
    """A file of another model is found out."""
    one = {"inputs": [tensor("z", [1])], "outputs": [tensor("y", [1])]}
    with pytest.raises(LoadRefused, match="input 'z' is unknown"):
        check_golden("m", read_golden(written([one])), lambda request: answer([1.0]), CHECKS)
