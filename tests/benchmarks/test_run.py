"""The command."""

import sys
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.peer_servers import PEERS, missing_environment
from benchmarks.report import MARK

RESULTS = Path(run.__file__).with_name("RESULTS.md")


@pytest.fixture
def matrix_of(monkeypatch):
    """The matrix that a command line asks for."""

    def matrix_of(*arguments):
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        return run.make_matrix(run.read_options())

    return matrix_of


def test_the_full_matrix_is_the_default(matrix_of):
    """`make bench` measures every server that is installed here under every protocol."""
    matrix = matrix_of()
    installed = [name for name in PEERS if not missing_environment(name)]
    assert ("floor", "none", "ab", "canary", "shadow", *installed) == matrix.servers
    assert (("json", "binary", "grpc"), (1, 16, 64)) == (matrix.cases, matrix.at_once)


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


def test_missing_load_generators_are_one_line(monkeypatch, capsys):
    """Whoever has none is told what to install."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    assert 2 == run.main()
    assert (
        "the load generators are not installed; cure: apt-get install nghttp2-client util-linux wrk\n"
        == capsys.readouterr().err
    )


def test_results_can_be_written():
    """The file that ships has the line below which results go."""
    assert MARK in RESULTS.read_text()
