"""Replicas on Ray as an operator sees them: where each is, what it runs on, and what it wrote."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app


@pytest.fixture
def turnout(gateway):
    def run(*words):
        told = CliRunner().invoke(app, [*words, "--server", f"http://127.0.0.1:{gateway.admin}"])
        assert 0 == told.exit_code, told.output
        return told.stdout

    return run


def test_status_says_where_each_replica_is_and_what_it_runs_on(turnout, wait_until):
    def arms():
        return {each["arm"]: each for each in json.loads(turnout("describe", "mixed", "-o", "json"))["arms"]}

    wait_until(lambda: "cpu" == arms().get("new", {}).get("provider"))
    found = arms()
    (replica,) = found["new"]["replicas"]
    assert ("ready", "cpu", "socket and port") == (replica["state"], replica["provider"], replica["address"])
    assert (1, [1, 1], "RUNNING", "") == tuple(found["new"][name] for name in ("ready", "wanted", "status", "trouble"))
    assert ("embedded", None, []) == tuple(found["old"][name] for name in ("runner", "ready", "replicas"))


def test_what_a_replica_wrote_is_read_with_its_name_before_each_line(turnout):
    (replica,) = json.loads(turnout("describe", "mixed", "-o", "json"))["arms"][1]["replicas"]
    lines = turnout("logs", "new", "--route", "mixed", "-n", "3").splitlines()
    assert 0 < len(lines) <= 3
    assert {replica["replica"]} == {line.split()[0] for line in lines}
