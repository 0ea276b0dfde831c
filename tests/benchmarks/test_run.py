"""The command."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.peer_servers import PEERS, missing_environment
from benchmarks.record import Plan, begin, resume
from benchmarks.report import MARK
from benchmarks.rounds import Matrix
from benchmarks.run import minutes

RESULTS = Path(run.__file__).with_name("RESULTS.md")


@pytest.fixture
def matrix_of(monkeypatch):
    """The matrix that a command line asks for."""

    def matrix_of(*arguments):
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        return run.make_plan(run.read_options()).matrix

    return matrix_of


def test_every_server_is_measured_by_default(matrix_of):
    """`make bench` measures every server that is installed here under every protocol; --full does so longer."""
    matrix = matrix_of()
    installed = [name for name in PEERS if not missing_environment(name)]
    assert ("floor", "none", "ab", "canary", "shadow", "ray", *installed) == matrix.servers
    assert (("json", "binary", "grpc"), (1, 64)) == (matrix.cases, matrix.at_once)
    assert "loop" in matrix_of("--model", "medium").servers
    full = matrix_of("--full")
    assert (matrix.servers, matrix.cases, (1, 16, 64)) == (full.servers, full.cases, full.at_once)
    assert (True, True) == (full.rounds_n > matrix.rounds_n, full.seconds > matrix.seconds)


def test_a_quick_pass_is_shorter_and_can_be_narrowed(matrix_of):
    """Whoever changes a line wants to know within a minute."""
    matrix = matrix_of("--quick", "--servers", "none,floor", "--cases", "json", "--at-once", "64")
    assert (("none", "floor"), ("json",), (64,), 1) == (
        matrix.servers,
        matrix.cases,
        matrix.at_once,
        matrix.rounds_n,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--servers", "nginx"], "no server is called nginx"),
        (["--cases", "http3"], "no case is called http3"),
        (["--at-once", "0"], "--at-once wants numbers"),
        (["--rounds", "1000"], "a run has an end"),
    ],
)
def test_what_there_is_not_is_refused(matrix_of, arguments, words):
    """A slip of the pen is told at once, with what there is."""
    with pytest.raises(SystemExit, match=words):
        matrix_of(*arguments)


def test_a_quick_pass_is_not_written_down(matrix_of, capsys):
    """Figures of two seconds do not get into the results."""
    with pytest.raises(SystemExit):
        matrix_of("--quick", "--write")
    assert "not worth writing down" in capsys.readouterr().err


def test_how_long_it_takes_is_told_beforehand(matrix_of):
    """Seconds of load are most of it, and what is done already takes none."""
    matrix = matrix_of(
        "--servers", "floor,none", "--cases", "json", "--at-once", "64", "--rounds", "3", "--seconds", "60"
    )
    assert 6.0 < minutes(matrix) < 7.0
    assert 4.0 < minutes(matrix, frozenset({(0, "floor"), (0, "none")})) < 5.0


def test_a_run_goes_on_with_what_it_was_started_with(matrix_of, capsys):
    """Rounds of five seconds and of ten make no common median."""
    with pytest.raises(SystemExit):
        matrix_of("--resume", "--seconds", "10")
    assert "--resume goes on with what the run was started with" in capsys.readouterr().err


def test_a_run_that_is_stopped_keeps_what_it_measured(monkeypatch, tmp_path, run_of, capsys):
    """Whoever stops it reads what there is, and goes on later."""

    def measure(*_):
        yield run_of("floor", 100.0)
        raise KeyboardInterrupt

    matrix = Matrix(("floor", "none"), ("json",), (64,), 1, 1, 1, min(os.sched_getaffinity(0)))
    record = begin(tmp_path, Plan("tiny", "default", "turnout 0", matrix))
    monkeypatch.setattr(run, "measure", measure)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    failure, status = run.measure_into(record)
    assert (130, True) == (status, "--resume" in failure)
    assert frozenset({(0, "floor")}) == resume(tmp_path).turns()


def test_missing_load_generators_are_one_line(monkeypatch, capsys, tmp_path):
    """Whoever has none is told what to install."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    monkeypatch.setattr(run, "CACHE", tmp_path)
    assert 2 == run.main()
    assert (
        "the load generators are not installed; cure: apt-get install nghttp2-client util-linux wrk\n"
        == capsys.readouterr().err
    )


def test_results_can_be_written():
    """The file that ships has the line below which results go."""
    assert MARK in RESULTS.read_text()
