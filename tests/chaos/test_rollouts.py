"""Rollouts under load, with candidates that go wrong for real while they climb: each is taken back by itself.

Nobody who asks is ever refused, and the record names the guardrail, its E value, the counts and the first requests that
it hurt. These take minutes, so they are behind `make chaos`.
"""

import json
import os
import platform
import re
import signal
import sys
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from statistics import median
from time import monotonic, sleep

import numpy as np
import onnx
import pytest

from tests.chaos.marks import only_in_chaos
from tests.gateway.cli.test_serve_rollouts import FAULTS, LIMIT_S, MODELS, Load, asked, until_phase, write_route

pytestmark = only_in_chaos
LATE_PASSES_N = 350_000  # of a loop: some 300 ms on an idle core
LEAST_LATE_MS = 100.0
STEADY_N = 800  # answers before a candidate goes wrong
SHORT = [{"share": "30%", "bake": "10s"}, {"share": "60%", "bake": "10s"}]


@pytest.mark.parametrize(("fault", "causes"), [("flaky", {"error"}), ("hangs-sometimes", {"timeout", "overload"})])
def test_a_candidate_that_begins_to_fail_is_taken_back_and_nobody_notices(start_gateway, tmp_path, fault, causes):
    """Well for a while, then broken: evidence for it counts no more than what comes after."""
    write_route(tmp_path / "config", FAULTS / f"{fault}.onnx", ramp=[{"share": "30%"}, {"share": "60%"}])
    document = json.loads((tmp_path / "config" / "routes" / "digits.yaml").read_text())
    (tmp_path / "config" / "routes" / "digits.yaml").write_text(json.dumps(document | {"timeout": "500ms"}))
    gateway = start_gateway(tmp_path / "config")
    with Load(gateway.http) as load:
        load.until(STEADY_N)
        load.first_pixel = 16
        rollout = until_phase(gateway, "rolled_back")
    assert 0 == gateway.stop()

    assert [] == load.failures
    metric = rollout["reason"].split()[0]  # a run of several requests that hangs is one bad run
    assert metric in {"error_rate", "run_errors"}
    assert f"{metric} is proven worse than its bound; {metric} E = " in rollout["reason"], rollout
    failed = {"assigned_arm": "new", "answered_arm": "linear"}
    told = [event for event in gateway.events("request") if failed.items() <= event.items()]
    assert {event["fallback_cause"] for event in told} <= causes
    first = rollout["reason"].split("first: ")[1].split(", ")
    assert 1 <= len(first) <= 3  # of runs there may be fewer
    assert set(first) <= {event["event_id"] for event in told}


def test_a_candidate_that_is_late_is_taken_back(start_gateway, tmp_path):
    """It answers right, but 70 ms later than the baseline, which takes less than one."""
    write_route(tmp_path / "config", FAULTS / "slow.onnx", ramp=[{"share": "30%"}, {"share": "50%"}])
    gateway = start_gateway(tmp_path / "config")
    with Load(gateway.http) as load:
        rollout = until_phase(gateway, "rolled_back")
    assert 0 == gateway.stop()
    assert [] == load.failures
    assert "latency is proven worse than its bound" in rollout["reason"], rollout
    first = rollout["reason"].split("first: ")[1].split(", ")
    slow = {event["event_id"] for event in gateway.events("request") if event["assigned_arm"] == "new"}
    assert 3 == len(set(first) & slow)


def test_a_candidate_that_becomes_300_ms_late_under_load_is_taken_back_and_nobody_notices(start_gateway, tmp_path):
    """Two clients at once; well until what is slow is known, then every answer of it is late."""
    model = onnx.load(FAULTS / "hangs-sometimes.onnx")
    (passes,) = [each for each in model.graph.initializer if each.name == "no_end"]
    passes.CopyFrom(onnx.numpy_helper.from_array(np.array(LATE_PASSES_N, np.int64), "no_end"))
    late = tmp_path / "late.onnx"
    late.write_bytes(model.SerializeToString())
    write_route(tmp_path / "config", late, ramp=[{"share": "30%", "bake": "1h"}, {"share": "50%"}])
    gateway = start_gateway(tmp_path / "config")
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(gateway.http)) for _ in range(2)]
        ends_at = monotonic() + LIMIT_S
        while "slow is more than" not in asked(gateway, "/v1/revisions?limit=1")["revisions"][0]["reason"]:
            assert monotonic() < ends_at, gateway.log()
            sleep(0.2)
        for load in loads:
            load.first_pixel = 16
        began_at = monotonic()
        rollout = until_phase(gateway, "rolled_back")
        took_s = monotonic() - began_at
    assert 0 == gateway.stop()
    assert [] == [failure for load in loads for failure in load.failures]
    assert "latency is proven worse than its bound" in rollout["reason"], rollout
    events = [event for event in gateway.events("request") if event["assigned_arm"] == "new"]
    assert {"new"} == {event["answered_arm"] for event in events}
    late_ms = {event["event_id"]: event["duration_ms"] for event in events if event["duration_ms"] > LEAST_LATE_MS}
    assert set(rollout["reason"].split("first: ")[1].split(", ")) <= set(late_ms)
    said = f"back after {took_s:.0f} s and {len(late_ms)} answers that took {median(late_ms.values()):.0f} ms"
    sys.stdout.write(f"\n{said}: {rollout['reason']}\n")


def test_a_candidate_whose_every_request_fails_is_taken_back_after_an_epoch(start_gateway, tmp_path):
    write_route(tmp_path / "config", FAULTS / "raises-always.onnx", ramp=[{"share": "30%"}, {"share": "60%"}])
    gateway = start_gateway(tmp_path / "config")
    with Load(gateway.http) as load:
        load.until(1)
        rollout = until_phase(gateway, "rolled_back")
    assert 0 == gateway.stop()
    assert [] == load.failures
    assert "error_rate is proven worse than its bound" in rollout["reason"], rollout


@pytest.mark.parametrize("limit", [{"no_worse_than": "2x"}, {"no_worse_than": "20%", "window": "5m"}])
def test_a_candidate_that_says_one_thing_too_often_is_taken_back(start_gateway, tmp_path, limit):
    """It answers fast and soundly, and sees an eight in every picture; one in ten is one."""
    row = {"name": "label", "datatype": "INT64", "shape": [-1], "data": [8]}
    prior = json.loads((MODELS / "digits-prior.json").read_text())
    eights = tmp_path / "eights.json"
    eights.write_text(json.dumps(prior | {"outputs": [row, prior["outputs"][1]]}))
    write_route(tmp_path / "config", eights, ramp=[{"share": "30%"}], guardrails=[{"action": "eight"} | limit])
    file = tmp_path / "config" / "routes" / "digits.yaml"
    document = json.loads(file.read_text())
    document["arms"]["new"]["model"] = f"constant:{eights}"
    file.write_text(json.dumps(document | {"actions": {"eight": {"output": "label", "equals": 8}}}))
    gateway = start_gateway(tmp_path / "config")
    with Load(gateway.http) as load:
        load.until(1)
        rollout = until_phase(gateway, "rolled_back")
    story = asked(gateway, "/v1/routes/digits/story")["story"]
    assert 0 == gateway.stop()
    assert [] == load.failures
    assert "action:eight is proven worse than its bound; action:eight E = " in rollout["reason"], rollout
    assert rollout["reason"] == story[-1]["reason"]
    first = rollout["reason"].split("first: ")[1].split(", ")
    told = {event["event_id"] for event in gateway.events("request") if event["answered_arm"] == "new"}
    assert 3 == len(set(first) & told)


def test_a_better_candidate_is_promoted(start_gateway, tmp_path):
    guardrails = [{"metric": "error_rate"}, {"metric": "invalid_output"}]
    route = {"ramp": SHORT, "guardrails": guardrails}
    write_route(tmp_path / "config", MODELS / "digits-mlp.onnx", **route)
    gateway = start_gateway(tmp_path / "config")
    with Load(gateway.http) as load:
        rollout = until_phase(gateway, "promoted", "rolled_back")
    story = asked(gateway, "/v1/routes/digits/story")["story"]
    assert 0 == gateway.stop()
    assert [] == load.failures
    assert "promoted" == rollout["phase"], rollout
    moved = [(each["phase"], each["step"]) for each in story]
    assert [("baking", 0), ("baking", 1), ("promoted", 1)] == list(dict.fromkeys(moved))


def test_killed_in_a_running_canary_it_goes_on_at_the_same_step_with_the_same_evidence(
    start_gateway, gateway_process, tmp_path
):
    """SIGKILL for all its processes; what had been closed is folded again, and nobody has climbed meanwhile."""
    guardrails = [{"metric": "error_rate"}, {"metric": "invalid_output"}]
    ramp = [{"share": "30%", "bake": "10s"}, {"share": "60%", "bake": "1h"}]
    write_route(tmp_path / "config", MODELS / "digits-mlp.onnx", ramp=ramp, guardrails=guardrails)
    gateway = start_gateway(tmp_path / "config")
    with Load(gateway.http):
        until_step(gateway, 1)
        load_n = 0
        while not load_n:
            load_n = asked(gateway, "/v1/routes/digits")["judgement"]["guardrails"][0]["candidate"][0][1]
    before = asked(gateway, "/v1/routes/digits")
    gateway.kill()

    again = gateway_process([str(tmp_path / "config")], gateway.state, {})
    after = asked(again, "/v1/routes/digits")
    again.kill()
    assert before["rollout"]["step"] == after["rollout"]["step"] == 1
    assert before["shares_ppm"] == after["shares_ppm"]
    assert before["judgement"]["epochs"] <= after["judgement"]["epochs"]
    if before["judgement"]["epochs"] == after["judgement"]["epochs"]:
        assert before["judgement"] == after["judgement"]


def until_step(gateway, step: int) -> None:
    while asked(gateway, "/v1/routes/digits")["rollout"]["step"] != step:
        until_phase(gateway, "baking")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the model kills its process on x86 processors")
def test_a_candidate_that_kills_the_process_it_runs_in_is_taken_back(start_gateway, tmp_path):
    """Well for a while, then each of its requests ends a process; whom that answered it takes along."""
    write_route(tmp_path / "config", FAULTS / "kills.onnx", ramp=[{"share": "10%"}, {"share": "60%"}])
    gateway = start_gateway(tmp_path / "config")
    with PatientLoad(gateway.http) as load:
        load.until(STEADY_N)
        load.first_pixel = 16
        began_at = monotonic()
        rollout = until_phase(gateway, "rolled_back")
        took_s = monotonic() - began_at
        broken_n, answers_n = load.broken_n, load.answers_n
        load.until(answers_n + 200)
    log = gateway.log()
    assert 0 == gateway.stop()
    assert [] == load.failures
    assert broken_n == load.broken_n  # nobody is hurt any more
    sys.stdout.write(f"\nback after {took_s:.0f} s, {broken_n} connections broken, {log.count('worker_lost')} ends\n")
    found = re.match(
        r"worker_deaths: (\d+) serving processes ended while it was run, none under the", rollout["reason"]
    )
    assert found, rollout
    assert 3 <= int(found[1]) <= broken_n
    assert "ended while new of digits@1 was run" in log


def test_a_worker_that_is_killed_again_and_again_under_a_good_candidate_takes_nobody_back(start_gateway, tmp_path):
    """Whoever kills from without meets the baseline, or nobody at all, sooner than three candidates in a row."""
    write_route(tmp_path / "config", MODELS / "digits-mlp.onnx", ramp=[{"share": "10%"}, {"share": "60%"}])
    gateway = start_gateway(tmp_path / "config")
    with PatientLoad(gateway.http) as load:
        for _ in range(4):
            load.until(load.answers_n + 100)
            os.kill(gateway.workers()[0], signal.SIGKILL)
        load.until(load.answers_n + 3000)
        rollout = asked(gateway, "/v1/routes/digits")["rollout"]
    assert 0 == gateway.stop()
    assert [] == load.failures
    assert "rolled_back" != rollout["phase"], rollout


class PatientLoad(Load):
    """Whose connection breaks takes another. `broken_n` are those that did."""

    broken_n = 0

    def _send_over(self, connection: HTTPConnection) -> None:
        while True:
            try:
                super()._send_over(connection)
            except (OSError, HTTPException):
                self.broken_n += 1
                connection.close()
            else:
                return
