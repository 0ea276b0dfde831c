"""`turnout bench` as somebody types it for a model of their own."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app

CONFIGS = Path(__file__).parents[3] / "configs"


def turnout(*words: str) -> Result:
    return CliRunner().invoke(app, ["bench", *words, "--config", str(CONFIGS)])


def test_a_route_s_model_is_measured_and_advice_is_given() -> None:
    """A table, and a sentence that says what to write into the document."""
    done = turnout("digits", "--seconds", "1")
    assert 0 == done.exit_code, done.output
    assert ("rows a call" in done.stdout, "Runs of " in done.stdout) == (True, True)


def test_programs_get_figures() -> None:
    done = turnout("digits", "--seconds", "1", "--arm", "digits-mlp", "-o", "json")
    facts = json.loads(done.stdout)
    assert ("digits-mlp", 16, "") == (facts["arm"], len(facts["cells"]), "".join(c["failure"] for c in facts["cells"]))


def test_more_threads_are_tried_where_there_are_cores_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has two cores learns whether a call is quicker on both."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    done = turnout("digits", "--seconds", "1")
    assert ("lone call p50 ms" in done.stdout, "threads: " in done.stdout) == (True, True), done.output
    facts = json.loads(turnout("digits", "--seconds", "1", "-o", "json").stdout)
    assert [(1, 1), (2, 1)] == [(each["threads_n"], each["lone"]["callers_n"]) for each in facts["threads"]]


def test_on_one_core_no_more_threads_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert [] == json.loads(turnout("digits", "--seconds", "1", "-o", "json").stdout)["threads"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("digit",), "no route 'digit' in"),
        (("digit",), "did you mean 'digits'?"),
        (("digits", "--arm", "digits-mpl"), "did you mean 'digits-mlp'?"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_the_nearest(words: tuple[str, ...], message: str) -> None:
    done = turnout(*words)
    assert (2, True) == (done.exit_code, message in done.stderr)
