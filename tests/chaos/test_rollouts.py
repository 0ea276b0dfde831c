"""Rollouts under load, with candidates that go wrong for real while they climb: each is taken back by itself.

Nobody who asks is ever refused, and the record names the guardrail, its E value, the counts and the first requests that
it hurt. These take minutes, so they are behind `make chaos`.
"""

import json

import pytest

from tests.chaos.marks import only_in_chaos
from tests.gateway.cli.test_serve_rollouts import FAULTS, MODELS, Load, asked, until_phase, write_route

pytestmark = only_in_chaos
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
