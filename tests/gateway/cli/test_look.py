"""The verbs that look, here and there: the same words."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from gateway.cli.kept import whoever_asks

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30
DOCUMENT = (ROOT / "configs" / "routes" / "digits.yaml").read_text()


def run(*words: object) -> Result:
    environment = {"TURNOUT_STATE_URL": "", "TURNOUT_TOKEN": ""}
    return CliRunner().invoke(app, [str(word) for word in words], env=environment)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return shutil.copytree(ROOT / "configs", tmp_path_factory.mktemp("look") / "configs")


@pytest.fixture(scope="module")
def gateway(start_shared_gateway, config):
    """One that has taken one step."""
    started = start_shared_gateway(config, "--workers", 2)
    address = f"http://127.0.0.1:{started.admin}"
    assert 0 == run("advance", "digits", "--reason", "no harm", "--author", "ann", "--server", address).exit_code
    until = monotonic() + PATIENCE_S
    while run("status", "--server", address).exit_code:  # gateways say twice a second what they serve
        assert monotonic() < until
    while "in the gateway; cpu" not in run("describe", "digits", "--server", address).stdout:
        assert monotonic() < until
        sleep(0.2)
    return started


@pytest.fixture(params=["here", "there"])
def turnout(request, gateway):
    at = ("--state", gateway.state) if request.param == "here" else ("--server", f"http://127.0.0.1:{gateway.admin}")
    return lambda *words: run(*words, *at)


def test_status_says_what_is_live_who_serves_it_and_what_every_route_does(gateway, turnout):
    told = turnout("status")
    lines = told.stdout.splitlines()
    assert 0 == told.exit_code, told.output
    assert lines[0].startswith("revision 2 of ")
    assert lines[0].endswith(" by ann (unproven) (operate): advance digits: no harm")
    assert lines[1].endswith(f":{gateway.http} serves revision 2")
    shares = "digits: canary: digits-mlp 25%, digits-linear 75%"
    waits = "baking at 25% (step 2 of 3), 30 min of 30 min left; no request of it has been counted yet at this share"
    assert f"{shares}; {waits}; then 50%" == lines[2]


def test_status_of_one_route_says_how_its_arms_are_run(turnout):
    """The provider really in use, and how many calls wait."""
    lines = turnout("status", "digits").stdout.splitlines()
    for line in ("digits-mlp in the gateway; cpu; 0 calls wait", "prior a constant"):
        assert f"  {line}" in lines
    told = json.loads(turnout("status", "-o", "json").stdout)["routes"][0]["arms"]
    assert ("digits-linear", "embedded", "cpu", []) == (
        *(told[0]["arm"], told[0]["runner"], told[0]["provider"], told[0]["replicas"]),
    )


def test_status_of_one_route_is_of_that_one(turnout):
    told = json.loads(turnout("status", "digits", "-o", "json").stdout)
    assert (["digits"], True) == ([each["route"] for each in told["routes"]], told["converged"])


def test_here_and_there_programs_read_the_same(gateway):
    """But for how long ago somebody was seen."""
    for words in (
        ("status",),
        ("describe", "digits"),
        ("history", "digits", "--story"),
        ("history",),
        ("get",),
        ("get", "--revision", "1"),
    ):
        here, there = (
            json.loads(run(*words, "-o", "json", *at).stdout)
            for at in (("--state", gateway.state), ("--server", f"http://127.0.0.1:{gateway.admin}"))
        )
        for told in (here, there):
            for each in told.get("gateways", ()) if isinstance(told, dict) else ():
                del each["seen_s_ago"]
        assert here == there, words


def test_describe_says_what_a_route_is_for_and_where_it_stands(turnout):
    told = turnout("describe", "digits")
    assert 0 == told.exit_code
    for line in ("experiment              digits@1", "fallback                digits-linear → prior"):
        assert line in told.stdout
    rollout = YAML(typ="safe").load(turnout("describe", "digits", "-o", "yaml").stdout)["rollout"]
    assert (1, "baking", "no harm") == (rollout["step"], rollout["phase"], rollout["reason"])
    assert rollout["author"] == whoever_asks("")


def test_a_story_tells_how_a_rollout_came_to_where_it_stands(turnout):
    told = turnout("history", "digits", "--story")
    head, first, then = told.stdout.splitlines()
    assert ["when", "revision", "author", "what"] == head.split()
    assert first.endswith("baking, digits-mlp 5%, digits-linear 95%: found in " + first.split("found in ")[1])
    assert then.endswith("ann (unproven)  baking, digits-mlp 25%, digits-linear 75%: advance digits: no harm")
    for words, why in (
        (("history", "digits"), "a story is of one route: turnout history ROUTE --story"),
        (("history", "--story"), "a story is of one route: turnout history ROUTE --story"),
        (("history", "digit", "--story"), "no rollout of 'digit' is live; turnout status names the routes there are"),
    ):
        refused = turnout(*words)
        assert (2, why) == (refused.exit_code, refused.stderr.strip())


def test_history_says_who_did_what_the_latest_first(turnout):
    told = turnout("history")
    head, latest, first = (line.split() for line in told.stdout.splitlines())
    assert ["revision", "when", "cause", "author", "reason"] == head
    assert (["2", "operate"], ["1", "start"]) == ([latest[0], latest[3]], [first[0], first[3]])
    assert 2 == len(turnout("history", "--limit", "1").stdout.splitlines())


def test_get_prints_documents_as_they_were_written(turnout):
    assert DOCUMENT.rstrip("\n") in turnout("get").stdout
    assert turnout("get").stdout == turnout("get", "--revision", "1").stdout


def test_get_writes_a_directory_that_can_be_applied(turnout, tmp_path):
    written = turnout("get", "--to", tmp_path / "before")
    assert 0 == written.exit_code, written.output
    assert DOCUMENT == (tmp_path / "before" / "routes" / "digits.yaml").read_text()
    again = turnout("apply", tmp_path / "before", "--dry-run")
    assert (0, "nothing to change: revision 2 is live\n") == (again.exit_code, again.stdout)


def test_get_does_not_write_where_it_cannot(turnout, tmp_path):
    (tmp_path / "file").write_text("")
    refused = turnout("get", "--to", tmp_path / "file")
    assert (2, True) == (refused.exit_code, "cannot be written" in refused.stderr)


def test_status_can_be_watched_until_interrupted(gateway):
    heeding = ["env", "--default-signal=INT"]  # tests that run in the background inherit deaf ears
    command = [*heeding, sys.executable, "-u", "-m", "gateway", "status", "--watch", "--state", str(gateway.state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        seen = [process.stdout.readline() for _ in range(6)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert ["revision 2"] * 2 == [line[:10] for line in seen[::3]]
