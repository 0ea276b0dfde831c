"""Which models' rows may be run together."""

from itertools import count
from time import perf_counter

import numpy as np
import onnx.parser
import pytest

from runners.core.errors import ExecutionFailed
from runners.core.runner import Batching, ProviderChoice
from runners.core.tensor import InferenceRequest, Signature, Tensor, TensorSpec
from runners.onnx import rows
from runners.onnx.graph import GraphFacts
from runners.onnx.rows import made_up_rows, try_rows
from runners.onnx.session import load_model, session_options

HEAD = '<ir_version: 9, opset_import: ["": 17]>\n'
MIXED = {  # models whose rows are not each other's strangers
    "softmax": "m (float[N,4] x) => (float[N,4] y) { y = Softmax <axis = 0> (x) }",
    "running": "m (float[N,4] x) => (float[N,4] y) <int64 axis = {0}> { y = CumSum(x, axis) }",
    "centred": "m (float[N,4] x) => (float[N,4] y) <int64[1] axis = {0}> { c = ReduceMean(x)  y = Sub(x, c) }",
    "chance": "m (float[N,4] x) => (float[N,4] y) { n = RandomNormalLike(x)  y = Add(x, n) }",
}
ONE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
PLAIN = GraphFacts(9, (("", 17),), "", frozenset({("", "MatMul")}), 1, (), frozenset())


@pytest.fixture(autouse=True)
def _any_gain_is_enough(monkeypatch):
    monkeypatch.setattr(rows, "GAIN", float("inf"))  # whatever this machine is busy with


@pytest.fixture
def tried(model_file):
    def attempt(path, known=(), **how):
        path = path if hasattr(path, "parent") else model_file(path)
        loaded = load_model(path, ProviderChoice(), threads=1, options=session_options())
        session = loaded.session
        return try_rows(session.signature, loaded.facts, session.run, Batching(**how), known)

    return attempt


def x_of(request):
    return request.inputs[0].array


def attempt(model, known=(), signature=ONE, clock=perf_counter, **how):
    """A trial of a model that is a function of x."""
    return try_rows(
        signature,
        PLAIN,
        lambda request: (Tensor("y", "FP32", model(x_of(request))),),
        Batching(**how),
        known,
        clock=clock,
    )


@pytest.mark.parametrize("name", ["sum", "two", "text", "bf16", "half", "truth", "fussy", "ridged"])
def test_rows_that_are_strangers_to_each_other_may_be_run_together(tried, name):
    """Whatever their datatype."""
    found = tried(name)
    assert ("", 64) == (found.why, found.rows_n)
    assert min(found.one_ms, found.rows_ms) > 0


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_look_at_each_other_are_run_apart(tried, tmp_path, name):
    """A first dimension of any size is not always a batch's."""
    path = tmp_path / "mixed.onnx"
    path.write_bytes(onnx.parser.parse_model(HEAD + MIXED[name]).SerializeToString())
    found = tried(path)
    assert (1, True) == (found.rows_n, found.why.startswith("2 rows run together: output 'y' differs by up to "))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("square", "dimension 0 of x, y is fixed"),
        ("scalar", "dimension 0 of y is fixed"),
        ("ranged", "dimension 0 of n is fixed"),
        ("liar", "dimension 0 of y is fixed"),
        ("noop", "it takes no inputs"),
        ("endless", "it uses Loop, whose condition may be on all rows at once"),
    ],
)
def test_some_models_are_not_even_tried(tried, name, why):
    """One row could keep all others running, or there is nothing to join."""
    assert (why, 0.0) == (tried(name).why, tried(name).one_ms)


def test_what_is_off_is_not_tried(tried):
    """An operator's word counts."""
    assert "batching is off" == tried("sum", max_rows=1).why


def test_the_last_bit_counts():
    """What a caller gets does not depend on who else was asking."""

    def rounding(x):
        return np.nextafter(x, np.float32(9)) if len(x) > 30 else x

    found = attempt(rounding)
    assert "32 rows run together: output 'y' differs by up to" in found.why
    assert "the tolerance is 0" in found.why


def test_a_tolerance_can_be_given():
    """Where an operator knows that the last bits mean nothing."""

    def rounding(x):
        return x + np.float32(1e-4) * (len(x) > 1)

    assert "" == attempt(rounding, tolerance=0.001).why
    assert "differs by up to 0.0001" in attempt(rounding, tolerance=0.00001).why


def test_nan_is_like_nan_and_unlike_all_else():
    """Also within a tolerance."""
    assert "" == attempt(lambda x: x * (np.nan if len(x) > 1 else -np.nan)).why
    assert "differs by up to inf" in attempt(lambda x: x * (np.nan if len(x) > 1 else 1), tolerance=0.1).why


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda x: np.repeat(x, 2, 0), "output 'y' has shape [2, 2] for one row"),
        (lambda x: x[:1], "2 rows run together: output 'y' has shape [1, 2], expected [2, 2]"),
        (lambda x: x[:, : len(x)], "2 rows run together: output 'y' has shape [2, 2], expected [2, 1]"),
    ],
)
def test_a_model_that_loses_rows_is_found_out(model, why):
    """Declared shapes are not always kept."""
    assert why == attempt(model).why


def test_a_model_that_cannot_run_rows_together_is_run_apart():
    """And says what went wrong."""

    def fragile(x):
        if len(x) > 1:
            raise ExecutionFailed("too many")
        return x

    assert "2 rows run together: too many" == attempt(fragile).why


def test_a_model_that_cannot_run_what_was_made_up_is_run_apart():
    """What was not shown is not done."""

    def picky(x):
        raise ExecutionFailed("not this")

    assert "not this" == attempt(picky).why


def test_no_more_rows_are_run_together_than_were_tried(monkeypatch):
    """A slow model's batches end where a caller's patience does."""
    monkeypatch.setattr(rows, "_LONGEST_S", 0.0)
    assert 2 == attempt(lambda x: x).rows_n


def test_the_most_that_may_be_run_together_is_tried():
    """Kernels change with the number of rows."""
    sizes = []
    attempt(lambda x: sizes.append(len(x)) or x, max_rows=50)
    assert {1, 2, 3, 8, 32, 50} == set(sizes)


def test_a_model_that_gains_nothing_is_run_apart(monkeypatch):
    """An answer would wait for all of its batch, for nothing."""
    monkeypatch.setattr(rows, "GAIN", 0.0)
    found = attempt(lambda x: x)
    assert ("rows gain nothing by being run together", 8) == (found.why, found.rows_n)


def test_golden_requests_are_tried_instead_of_made_up_ones():
    """They are what the model is asked; of those that differ in shape, the first kind."""
    seen = []
    known = [
        InferenceRequest("", (Tensor("x", "FP32", np.full((2, 2), 42, "<f4")),), ("y",)),
        InferenceRequest("", (Tensor("x", "FP32", np.full((1, 3), 43, "<f4")),)),
    ]
    assert "" == attempt(lambda x: seen.append(x) or x, known).why
    assert {42.0} == set(np.concatenate(seen).ravel().tolist())


def test_one_golden_row_is_too_few():
    """A row is its own stranger."""
    seen = []
    attempt(lambda x: seen.append(x) or x, [InferenceRequest("", (Tensor("x", "FP32", np.full((1, 2), 42, "<f4")),))])
    assert 42.0 not in np.concatenate(seen)


def test_made_up_rows_differ():
    """Rows that are alike would hide what they do to each other."""
    signature = Signature((TensorSpec("x", "FP32", (-1, 2)), TensorSpec("t", "BYTES", (-1,))), ())
    made = made_up_rows(signature)
    assert 8 == len({request.inputs[0].array.tobytes() for request in made})
    assert 8 == len({request.inputs[1].array[0] for request in made})


def test_rows_whose_answers_differ_in_shape_are_run_apart():
    """A model whose columns are as many as its input says; nothing could be dealt out again."""
    columns = count(2)
    found = attempt(lambda x: np.zeros((len(x), next(columns)), np.float32))
    assert "output 'y' has shape [1, 2] for one row and [1, 3] for another" == found.why


def test_what_rows_gain_is_told_by_the_clock_it_is_given(monkeypatch):
    """A row takes a hundredth of a second, and eight of them two."""
    monkeypatch.setattr(rows, "GAIN", 0.9)
    now = [0]

    def model(x):
        now[0] += 1 if len(x) == 1 else 2
        return x

    found = attempt(model, clock=lambda: now[0] / 100, max_rows=8)
    assert ("", 8) == (found.why, found.rows_n)
    assert (10, 20) == (pytest.approx(found.one_ms), pytest.approx(found.rows_ms))
