"""Shadows that go wrong: on what the benchmark asks, under the real command, and no client notices."""

import os
import shutil
from time import monotonic, sleep

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks.answers import check_answers
from benchmarks.faults import FAULTS, HUGE_BYTES, SPOILERS, spoil
from benchmarks.models import draw_input
from benchmarks.readings import read_server
from benchmarks.servers import Station
from benchmarks.shadow import NAMES, started
from benchmarks.sink import TraceSink


def spoiled(workload, fault):
    model = spoil(onnx.load(workload.models["new"]), fault, draw_input("tiny"))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("fault", SPOILERS)
def test_other_rows_are_answered_as_ever(workload, fault):
    """The gateway tries a model before it takes it, and must find nothing."""
    x = np.random.default_rng(5).standard_normal((3, 4)).astype(np.float32)
    sound = onnxruntime.InferenceSession(workload.models["new"], providers=["CPUExecutionProvider"])
    assert np.array_equal(sound.run(None, {"x": x})[0], spoiled(workload, fault).run(None, {"x": x})[0])


def test_the_row_that_is_asked_goes_wrong(workload):
    x = draw_input("tiny")
    with pytest.raises(Exception, match="out of"):
        spoiled(workload, "raises").run(None, {"x": x})
    assert HUGE_BYTES <= spoiled(workload, "huge").run(None, {"x": x})[0].nbytes < HUGE_BYTES + (1 << 10)


@pytest.mark.skipif(shutil.which("taskset") is None, reason="servers are pinned with taskset")
@pytest.mark.parametrize("name", FAULTS)
def test_no_client_notices(workload, tmp_path, name):
    """Clients get the baseline's answers, though shadows were made."""
    assert name in NAMES
    with TraceSink() as sink:
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
        with started(name, Station(workload, tmp_path, cores, sink.endpoint)) as running:
            assert {"old": 32} == check_answers(running, "json", workload)
            gives_up_at = monotonic() + 20.0
            while not (seen := read_server(running, "json")).shadows_made_n and monotonic() < gives_up_at:
                sleep(0.05)
    assert (0, True) == (seen.refused_n, seen.shadows_made_n > 0)
