"""`turnout plan`: how long a canary will take."""

import json
from time import process_time

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app

ROUTE = """\
turnout: v1
route: fraud
arms:
  old: {model: "file:old.onnx", role: baseline}
  new: {model: "file:new.onnx", role: candidate}
strategy: %s
"""
CANARY = (
    "{kind: canary, candidate: new, ramp: [{share: 1%, bake: 10m}, {share: 10%, bake: 10m}, {share: 50%, bake: 10m}]}"
)


@pytest.fixture
def plan(tmp_path):
    def planning(*words: object, strategy: str = CANARY):
        file = tmp_path / "fraud.yaml"
        file.write_text(ROUTE % strategy)
        return CliRunner().invoke(app, ["plan", str(file), *map(str, words)])

    return planning


def test_each_step_has_its_times_and_the_whole_ramp_its_own(plan):
    begun = process_time()
    told = json.loads(plan("--rate", 200, "--error-rate", "1%", "-o", "json").stdout)

    assert [each["share_ppm"] for each in told["steps"]] == [10_000, 100_000, 500_000]
    assert [each["stays_s"] for each in told["steps"]] == [600, 600, 600]
    requests = [each["catch"]["requests"] for each in told["steps"]]
    assert requests == sorted(requests, reverse=True)
    assert told["promoted_after_s"] >= 1800
    assert process_time() - begun < 10


def test_little_traffic_makes_a_step_as_long_as_its_requests_take(plan):
    told = json.loads(plan("--rate", 1, "--error-rate", "0.01", "-o", "json").stdout)
    assert [each["stays_s"] for each in told["steps"]] == [30_000, 3_000, 600]


def test_beside_a_twin_a_step_compares_as_many_requests_as_it_has_of_both(plan):
    """Two arms of equal share: fewer of the candidate's errors convict a warm baseline, fewer requests a large one."""
    told = json.loads(
        plan("--rate", 200, "--error-rate", "1%", "-o", "json", strategy=CANARY[:-1] + ", twin: true}").stdout
    )
    requests = [each["catch"]["requests"] for each in told["steps"]]

    assert [each["share_ppm"] for each in told["steps"]] == [10_000, 100_000, 500_000]
    assert [each["stays_s"] for each in told["steps"]] == [600, 600, 600]
    assert requests == pytest.approx([requests[2] * 50, requests[2] * 5, requests[2]], rel=0.001)
    assert told["promoted_after_s"] >= 1800


def test_people_get_a_table(plan):
    printed = plan("--rate", 200, "--error-rate", "1%").stdout
    assert "200 requests a second, 1% of them errors" in printed
    assert "a candidate that is no worse takes over after" in printed


@pytest.mark.parametrize(
    ("words", "strategy", "said"),
    [
        (("--rate", 1, "--error-rate", "60%"), CANARY, "out of range"),
        (("--rate", 1, "--error-rate", "lots"), CANARY, "--error-rate: 'lots' is no share"),
        (("--rate", 1, "--error-rate", "1%"), "{kind: baseline}", "never moves by itself"),
        (
            ("--rate", 1, "--error-rate", "1%"),
            "{kind: canary, candidate: new, ramp: [{share: 1%}], guardrails: [{metric: latency}]}",
            "no guardrail watches error_rate",
        ),
        (("--rate", 1, "--error-rate", "1%"), "{kind: canary, candidate: nobody, ramp: []}", "no arm is called"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(plan, words, strategy, said):
    found = plan(*words, strategy=strategy)
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr
