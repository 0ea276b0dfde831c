"""First runs, before anybody waits for one."""

import math
from time import perf_counter, thread_time

import onnxruntime as ort
import pytest
from msgspec import structs

from runners.core.runner import ProviderChoice
from runners.onnx import warmup
from runners.onnx.session import load_model, session_options
from runners.onnx.warmup import clock_of, warm_up


@pytest.fixture
def warmed(model_file):
    def warm(name):
        loaded = load_model(model_file(name), ProviderChoice(), threads=1, options=session_options())
        return warm_up(loaded.session, ort.RunOptions())

    return warm


@pytest.mark.parametrize(
    ("name", "rows"), [("sum", 8), ("two", 8), ("square", 1), ("noop", 1), ("text", 8), ("bf16", 8)]
)
def test_a_model_is_run_with_eight_rows_where_rows_are_free(warmed, name, rows):
    """The largest request that may run on the loop has been run."""
    found = warmed(name)
    assert (rows, "", True) == (found.rows_n, found.fault, 0 < found.slowest_s < math.inf)


def test_a_model_that_cannot_run_what_was_made_up_is_told_and_not_blamed(warmed, monkeypatch):
    """Zeros may be what a model cannot take."""
    monkeypatch.setattr(warmup, "_zeros", lambda spec, rows: warmup.Tensor("x", "INT64", warmup.np.array([9])))
    found = warmed("fussy")
    assert (True, math.inf, True) == ("out of data bounds" in found.fault, found.slowest_s, found.never_ran)


def test_a_model_that_takes_one_row_alone_has_run(warmed, monkeypatch):
    """A batch that does not work is no reason to refuse the row that does."""
    real = warmup._zeros
    monkeypatch.setattr(
        warmup,
        "_zeros",
        lambda spec, rows: real(spec, rows) if rows == 1 else warmup.Tensor("x", "INT64", warmup.np.array([9])),
    )
    found = warmed("fussy")
    assert (8, math.inf, False) == (found.rows_n, found.slowest_s, found.never_ran)


def test_an_input_too_large_to_make_up_is_not_made(warmed, monkeypatch):
    """A declared terabyte is not allocated."""
    monkeypatch.setattr(warmup, "_INPUT_LIMIT_BYTES", 8)
    found = warmed("square")
    assert ("input 'x' alone would take 16 bytes", True) == (found.fault, found.never_ran)


def test_a_model_on_a_busy_machine_is_timed_by_what_it_computes_itself(model_file):
    """Or a model that came while others were busy would be run apart from then on."""
    loaded = load_model(model_file("sum"), ProviderChoice(), threads=1, options=session_options())
    assert clock_of(loaded, threads=1) is thread_time


@pytest.mark.parametrize(("provider", "threads"), [("cpu", 0), ("cpu", 4), ("cuda", 1)])
def test_a_model_that_others_compute_for_is_timed_by_the_wall(model_file, provider, threads):
    loaded = load_model(model_file("sum"), ProviderChoice(), threads=1, options=session_options())
    loaded = structs.replace(loaded, provider=structs.replace(loaded.provider, name=provider))
    assert clock_of(loaded, threads) is perf_counter
