"""`turnout simulate`: what a canary would have done."""

import json
from time import process_time

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from tests.gateway.simulation.conftest import ROUTE, as_lines, requests


@pytest.fixture
def simulate(tmp_path):
    """Simulates lines, or observations, with the canary of the other tests of simulations."""
    route = tmp_path / "fraud.yaml"
    route.write_text(ROUTE)
    file = tmp_path / "observations.jsonl"

    def simulating(lines, text: str = ROUTE):
        route.write_text(text)
        file.write_bytes(b"".join(lines))
        return CliRunner().invoke(app, ["simulate", str(route), "--observations", str(file)])

    return simulating


def test_every_run_ends_in_exactly_one_line_of_its_own(simulate):
    """Runs may be mixed; each is a rollout from its first step."""
    streams = [list(requests("good", 30_000)), list(requests("bad", 30_000, harm=8.0)), list(requests(3, 100))]
    mixed = sorted((each for stream in streams for each in stream), key=lambda each: each["t"])
    found = [json.loads(line) for line in simulate(as_lines(mixed)).stdout.splitlines()]
    finals = {line["run"]: line["final"] for line in found if "final" in line}

    assert finals == {"good": "promoted", "bad": "rolled_back", 3: "running"}
    assert sum("final" in line for line in found) == 3
    assert {tuple(line) for line in found} == {
        ("run", "t", "n", "phase", "step", "share_ppm", "verdict", "guardrail", "log_e", "move"),
        ("run", "final", "t", "n"),
    }


def test_runs_by_themselves_are_as_runs_together(simulate):
    one, two = list(requests("one", 20_000, harm=4.0)), list(requests("two", 20_000))
    mixed = sorted(one + two, key=lambda each: each["t"])
    together = simulate(as_lines(mixed)).stdout.splitlines()
    alone = [line for part in (one, two) for line in simulate(as_lines(part)).stdout.splitlines()]
    assert sorted(together) == sorted(alone)


def test_a_million_observations_take_less_than_a_minute(simulate):
    """A tenth of them here, a tenth of that time; processor time, so that neighbours do not matter."""
    lines = as_lines(requests("r", 100_000, rate=1000.0))
    begun = process_time()
    assert simulate(lines, ROUTE.replace("30s", "10m")).exit_code == 0
    assert process_time() - begun < 6


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b'{"run": 1, "t": 1}\n', b"{no json\n"], "observations.jsonl:2:"),
        ([b'{"run": 1}\n'], "missing required field `t`"),
        ([b'{"run": 1, "t": -1}\n'], "write seconds from 0 on"),
        ([b'{"run": 1, "t": 25}\n', b'{"run": 1, "t": 5}\n'], ":2: run 1: t is in epoch 0, after epoch 2"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(simulate, lines, said):
    found = simulate(lines)
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr


def test_only_a_canary_can_be_simulated(simulate):
    text = ROUTE[: ROUTE.index("strategy:")] + "strategy: {kind: ab, shares: {new: 10%}}\n"
    found = simulate([], text)
    assert (found.exit_code, "kind: ab, which never moves by itself" in found.stderr) == (2, True)
