"""A rollout by itself, as clients and operators meet it: the real command, real models, and nobody who watches."""

import json
import urllib.request
from contextlib import closing
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

from gateway.control.notices import signature
from tests.gateway.control.test_notices import heard  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[3]
MODELS, FAULTS = ROOT / "configs" / "models", ROOT / "examples" / "faults"
ROWS = json.loads((ROOT / "examples" / "digits" / "rows.json").read_text())
LIMIT_S = 300.0  # a machine may be busy with something else


def write_route(config: Path, candidate: Path, **strategy: object) -> None:
    arms = {
        "linear": {"model": f"file:{MODELS / 'digits-linear.onnx'}", "role": "baseline"},
        "new": {"model": f"file:{candidate}", "role": "candidate"},
    }
    document = {
        "turnout": "v1",
        "route": "digits",
        "unit": {"header": "x-account-id"},
        "timeout": "10s",
        "arms": arms,
        "strategy": {"kind": "canary", "candidate": "new"} | strategy,
    }
    (config / "routes").mkdir(parents=True)
    (config / "routes" / "digits.yaml").write_text(json.dumps(document))  # JSON is YAML


class Load:
    """One client after another, each a unit of its own, until the block is left."""

    def __init__(self, port: int) -> None:
        self.failures: list[str] = []
        self.answers_n = 0
        self.first_pixel = 0  # 16 makes those models fail that fail now and then
        self._port = port
        self._is_over = Event()

    def __enter__(self) -> "Load":
        self._thread = Thread(target=self._send)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def until(self, answers_n: int) -> None:
        """Wait for so many answers."""
        ends_at = monotonic() + LIMIT_S
        while self.answers_n < answers_n:
            assert monotonic() < ends_at
            sleep(0.05)

    def _send(self) -> None:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            self._send_over(connection)

    def _send_over(self, connection: HTTPConnection) -> None:
        for number in count():
            if self._is_over.wait(0.005):
                return
            row = [self.first_pixel, *ROWS[number % len(ROWS)]["pixels"][1:]]
            pixels = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": row}
            headers = {"x-account-id": f"unit-{number}"}
            connection.request("POST", "/v2/models/digits/infer", json.dumps({"inputs": [pixels]}), headers)
            response = connection.getresponse()
            body = response.read()
            self.answers_n += 1
            if response.status != 200:
                self.failures.append(body.decode())


def asked(gateway, path: str) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin}{path}", timeout=60) as answer:
        return json.load(answer)


def until_phase(gateway, *phases: str) -> dict:
    """The rollout once it is in one of these phases."""
    ends_at = monotonic() + LIMIT_S
    while True:
        rollout = asked(gateway, "/v1/routes/digits")["rollout"]
        if rollout["phase"] in phases:
            return rollout
        assert monotonic() < ends_at, (rollout, gateway.log())
        sleep(0.2)


def test_a_candidate_that_answers_nonsense_is_taken_back_and_nobody_notices(start_gateway, tmp_path, heard):  # noqa: F811
    """Three answers with NaN are enough: the fallback covers each, the record names them, and a webhook is told."""
    write_route(tmp_path / "config", FAULTS / "nan.onnx", ramp=[{"share": "20%"}, {"share": "50%"}])
    notify = [{"url": heard.receiver.url, "secret_env": "HOOK_SECRET", "on": ["rollback"]}]
    (tmp_path / "config" / "turnout.yaml").write_text(json.dumps({"turnout": "v1", "notify": notify}))
    gateway = start_gateway(tmp_path / "config", HOOK_SECRET="s" * 16)
    with Load(gateway.http) as load:
        rollout = until_phase(gateway, "rolled_back")
        revision = asked(gateway, "/v1/revisions?limit=1")["revisions"][0]
        ends_at = monotonic() + LIMIT_S
        while not heard.requests:
            assert monotonic() < ends_at, gateway.log()
            sleep(0.1)
    assert 0 == gateway.stop()

    ((_, headers, body),) = heard.requests
    assert signature(b"s" * 16, body) == headers["x-turnout-signature"]
    assert f"digits: rolled back ({rollout['reason']}); possible: restart" == json.loads(body)["sentence"]

    assert [] == load.failures
    assert ("control", "turnout", 0) == (revision["cause"], revision["author"], rollout["step"])
    assert rollout["reason"] == revision["reason"]
    assert "invalid_output: " in rollout["reason"], rollout
    first = rollout["reason"].split("first: ")[1].split(", ")
    told = {event["event_id"]: event for event in gateway.events("request") if event["event_id"] in first}
    assert 3 == len(told)
    assert {("new", "invalid_output")} == {(each["assigned_arm"], each["fallback_cause"]) for each in told.values()}


def test_beside_a_twin_a_failing_candidate_is_taken_back_and_the_twin_goes_with_it(start_gateway, tmp_path):
    """The twin is the baseline's model opened once more: it answers, and the candidate is held against it."""
    guardrails = [{"metric": "error_rate"}]
    ramp = [{"share": "20%"}, {"share": "50%"}]
    write_route(tmp_path / "config", FAULTS / "raises.onnx", ramp=ramp, twin=True, guardrails=guardrails)
    gateway = start_gateway(tmp_path / "config")
    with Load(gateway.http) as load:
        load.until(100)
        told = asked(gateway, "/v1/status")["routes"][0]
        rollout = until_phase(gateway, "rolled_back")
        judged = asked(gateway, "/v1/routes/digits")["judgement"]
        load.until(load.answers_n + 50)  # under the map that follows
    assert 0 == gateway.stop()

    assert [] == load.failures
    assert "canary: new 20%, linear@twin 20%, linear 60%" in told["sentence"]
    assert ("linear@twin", "error_rate") == (judged["beside"], judged["guardrail"])
    (((failed_n, of_n),), ((none_n, beside_n),)) = [judged["guardrails"][0][arm] for arm in ("candidate", "baseline")]
    assert (failed_n, none_n) == (of_n, 0)
    assert 0.5 < of_n / beside_n < 2
    assert "error_rate is proven worse" in rollout["reason"]
    assert "arm_loaded: route digits, arm linear@twin" in gateway.log()  # it is a session of its own
    answered = gateway.events("request")
    by_twin = [each for each in answered if each["assigned_arm"] == "linear@twin"]
    assert {("linear@twin", "")} == {(each["answered_arm"], each["fallback_cause"]) for each in by_twin}
    assert {"linear"} == {each["assigned_arm"] for each in answered[-20:]}
