"""The benchmark of batches: its figures are those of runs that took place."""

import uvloop

from benchmarks.batching import Pace, loop_plainly, render, serve_callers
from benchmarks.models import make_workload
from runners.core.runner import Batching


def test_a_plain_loop_runs_batches():
    """Its rows are counted, not its runs."""
    pace = loop_plainly(make_workload("tiny").models["old"].resolve(), 8, 0.01)
    assert (8, True, True) == (pace.run_rows, pace.per_second > 0, pace.cpu_us > 0)


def test_callers_are_answered():
    """Tiny models run on the event loop, where no run is shared."""
    pace = uvloop.run(serve_callers(make_workload("tiny").models["old"].resolve(), Batching(), 4, 0.01))
    assert (True, True) == (pace.per_second > 0, pace.cpu_us > 0)


def test_the_table_has_ratios_within_rounds():
    """What slows one round down is in both of its figures."""
    rounds = [
        {"plain loop, 64 rows": Pace(100.0, 10.0, 64), "64 callers": Pace(90.0, 11.0, 40)},
        {"plain loop, 64 rows": Pace(10.0, 10.0, 64), "64 callers": Pace(9.0, 13.0, 40)},
    ]
    assert "| 64 callers | 50 | 0.90 | 12 | 40 |" in render(rounds)
