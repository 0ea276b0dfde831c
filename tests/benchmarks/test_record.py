"""What a run has measured survives it: a stopped run loses the turn it was in and nothing else."""

import pytest

from benchmarks.record import NothingToResume, Plan, begin, resume
from benchmarks.rounds import Matrix

MATRIX = Matrix(("floor", "none"), ("json",), (64,), 2, 3, 1, 1)
PLAN = Plan("tiny", "default", "turnout 0.1.0 at abc", MATRIX)


def test_a_run_is_read_back_as_it_was_written(tmp_path, run_of):
    """Figures and settings come out as they went in."""
    record = begin(tmp_path, PLAN)
    for run in (run_of("floor", 100.0), run_of("none", 50.5, shadows_made_n=3.0)):
        record.keep(run)
    again = resume(tmp_path)
    assert (PLAN, record.runs) == (again.plan, again.runs)
    assert frozenset({(0, "floor"), (0, "none")}) == again.turns() == record.turns()


def test_a_turn_that_was_not_finished_is_measured_again(tmp_path, run_of):
    """A cell of one start of a server is not joined to cells of another."""
    wide = Matrix(("floor",), ("json",), (1, 64), 1, 3, 1, 1)
    begin(tmp_path, Plan("tiny", "default", "", wide)).keep(run_of("floor", 100.0))
    again = resume(tmp_path)
    assert ([], frozenset()) == (again.runs, again.turns())


def test_a_line_that_was_cut_off_costs_no_other(tmp_path, run_of):
    """A machine may stop in the middle of a word; what is kept afterwards stands on a line of its own."""
    record = begin(tmp_path, PLAN)
    record.keep(run_of("floor", 100.0))
    with record.path.open("a") as lines:
        lines.write('{"server": "no')
    resume(tmp_path).keep(run_of("none", 50.0))
    assert [run_of("floor", 100.0), run_of("none", 50.0)] == resume(tmp_path).runs


def test_the_newest_run_is_gone_on_with(tmp_path, run_of):
    begin(tmp_path, Plan("medium", "full", "", MATRIX)).keep(run_of("floor", 100.0))
    begin(tmp_path, PLAN)
    assert ("tiny", []) == (resume(tmp_path).plan.model, resume(tmp_path).runs)


def test_there_may_be_nothing_to_go_on_with(tmp_path, run_of):
    """No run, a whole one, or one that another version wrote."""
    with pytest.raises(NothingToResume, match="no run was kept"):
        resume(tmp_path)
    record = begin(tmp_path, PLAN)
    for round_no in (0, 1):
        for server in MATRIX.servers:
            record.keep(run_of(server, 100.0, round_no))
    with pytest.raises(NothingToResume, match="measured to its end"):
        resume(tmp_path)
    begin(tmp_path, PLAN).path.write_text('{"server": "floor"}\n')
    with pytest.raises(NothingToResume, match="cannot be gone on with"):
        resume(tmp_path)


def test_what_speaks_against_the_figures_is_kept_with_them(tmp_path, run_of):
    """A machine that was busy in the first half was busy for good."""
    record = begin(tmp_path, PLAN)
    record.warn("the machine is busy")
    record.keep(run_of("floor", 100.0))
    record.warn("the machine is busy")
    assert (["the machine is busy"], 1) == (resume(tmp_path).warnings, len(resume(tmp_path).runs))
