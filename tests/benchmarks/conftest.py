from pathlib import Path

import pytest

from benchmarks.load import Measured
from benchmarks.models import make_workload
from benchmarks.readings import Reading
from benchmarks.rounds import Run

SAMPLES = Path(__file__).with_name("samples")


@pytest.fixture(scope="session")
def workload(tmp_path_factory):
    return make_workload("tiny", tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def sample():
    """What a load generator once printed."""
    return lambda name: (SAMPLES / name).read_text()


@pytest.fixture
def run_of():
    """One cell in one round, of which only the rate, and what the server says of itself, is of interest."""

    def run_of(server, per_second, round_no=0, **seen):
        measured = Measured(1000, per_second, 1.0, 2.0, 0, 0)
        return Run(server, "json", 64, round_no, measured, Reading(cpu_s=0.05, **seen), 100.0, 1.0)

    return run_of
