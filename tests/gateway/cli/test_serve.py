"""`turnout serve`, as an operator meets it: the real command, real models, real signals."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "configs" / "models"
LINEAR, NETWORK = MODELS / "digits-linear.onnx", MODELS / "digits-mlp.onnx"
FAULTS = ROOT / "examples" / "faults"
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict, dict]:
    """Status, headers and JSON of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST" if body else "GET", path, body, named)
    response = connection.getresponse()
    content = json.loads(response.read() or b"{}")
    connection.close()
    return response.status, dict(response.headers), content


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gateway", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def write_route(config: Path, name: str = "digits", **changes: object) -> Path:
    arms = {
        "linear": {"model": f"file:{LINEAR}", "role": "baseline"},
        "network": {"model": f"file:{NETWORK}", "role": "candidate"},
    }
    document = {"turnout": "v1", "route": name, "arms": arms, "strategy": {"kind": "baseline"}} | changes
    (config / "routes").mkdir(parents=True, exist_ok=True)
    (config / "routes" / f"{name}.yaml").write_text(json.dumps(document))
    return config


def test_one_model_is_served_without_any_file(start_gateway):
    gateway = start_gateway(LINEAR)
    status, headers, answer = ask(gateway.http, "/v2/models/digits-linear/infer", BODY)

    assert (status, headers["x-turnout-arm"], answer["outputs"][0]["data"]) == (200, "digits-linear", [7])
    assert gateway.stop() == 0


def test_two_models_make_a_canary(start_gateway):
    gateway = start_gateway(LINEAR, NETWORK, "--strategy", "canary:50%")
    arms = {
        ask(gateway.http, "/v2/models/digits-linear/infer", BODY, x_turnout_unit=f"u{n}")[1]["x-turnout-arm"]
        for n in range(20)
    }

    assert arms == {"digits-linear", "digits-mlp"}


def test_the_committed_configuration_is_served(start_gateway):
    gateway = start_gateway(os.path.relpath(ROOT / "configs"), "--step", "digits=3")  # as it is written in the README
    arms = [
        ask(gateway.http, "/v2/models/digits/infer", BODY, x_account_id=f"account-{n}")[1]["x-turnout-arm"]
        for n in range(40)
    ]

    assert ask(gateway.http, "/v2/health/ready")[0] == 200
    assert 8 <= arms.count("digits-mlp") <= 32


def test_what_assign_says_is_what_serve_does(start_gateway, tmp_path):
    """The assignment can be known before the first request."""
    config = write_route(tmp_path / "config", strategy={"kind": "ab", "shares": {"network": "50%"}})
    units = tmp_path / "units.txt"
    units.write_text("".join(f"unit-{n}\n" for n in range(30)))
    printed = run("assign", "digits", "--units", units, "--config", config)
    assigned = {line["unit"]: line["arm"] for line in map(json.loads, printed.stdout.splitlines())}
    gateway = start_gateway(config)

    served = {
        unit: ask(gateway.http, "/v2/models/digits/infer", BODY, x_turnout_unit=unit)[1]["x-turnout-arm"]
        for unit in assigned
    }
    assert served == assigned
    assert set(served.values()) == {"linear", "network"}


def test_a_port_in_use_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", LINEAR, "--port", port, "--state", tmp_path)

    assert done.returncode == 2
    assert f"port {port} is in use" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere"], "no such file or directory: nowhere"),
        ([LINEAR, "--strategy", "canary:5%"], "needs a second model"),
        ([LINEAR, NETWORK, "--strategy", "canary:5"], "write five percent as 5% or 0.05"),
        ([ROOT / "configs", "--strategy", "ab:5%"], "--strategy is for model files"),
        ([ROOT / "configs", "--step", "digits=9"], "route 'digits' has 3 steps, there is no step 9"),
        ([ROOT / "configs", "--step", "cats=1"], "--step names no route: cats"),
        ([ROOT / "configs", LINEAR], "one config directory, or ONNX files, not both"),
        ([ROOT / "configs", "--port", "65534"], "leaves no room for gRPC, metrics and admin"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_clear_line(arguments, why):
    done = run("serve", *arguments)

    assert done.returncode == 2
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_file_is_told_with_its_line_and_cure(tmp_path):
    config = write_route(tmp_path / "config")
    file = config / "routes" / "digits.yaml"
    file.write_text(file.read_text().replace("baseline", "basline", 1))
    done = run("validate", config)

    assert done.returncode == 2
    assert f"{file}:1:" in done.stderr
    assert "it can be 'baseline', 'candidate' or 'reserve'" in done.stderr


def test_validate_states_the_facts(tmp_path):
    config = write_route(
        tmp_path / "config",
        strategy={"kind": "canary", "candidate": "network", "ramp": [{"share": "5%"}]},
        shadow=[{"candidate": "network", "share": "50%"}],
    )
    done = run("validate", config)

    assert done.returncode == 0
    assert "network 5%, linear 95%" in " ".join(done.stdout.split())
    assert "calls     1.475 for a request" in done.stdout  # half of those that it does not answer itself


def test_requests_under_way_are_finished_after_sigterm(start_gateway, tmp_path):
    """A rolling restart loses no request that was begun."""
    arms = {"slow": {"model": f"file:{FAULTS / 'slow.onnx'}", "role": "baseline"}}
    gateway = start_gateway(write_route(tmp_path / "config", arms=arms, timeout="10s"))
    answers: list[int] = []

    def ask_until_nobody_is_there() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                answers.append(ask(gateway.http, "/v2/models/digits/infer", BODY)[0])

    clients = [threading.Thread(target=ask_until_nobody_is_there) for _ in range(5)]
    for client in clients:
        client.start()
    while not ask_metric(gateway.metrics, 'turnout_inflight_requests{route="digits"}'):
        pass
    assert gateway.stop() == 0
    for client in clients:
        client.join()

    assert set(answers) == {200}
    assert len(gateway.events("request")) == len(answers)


def ask_metric(port: int, name: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)


def test_interrupting_is_stopping(start_gateway):
    assert start_gateway(LINEAR).stop(signal.SIGINT) == 0


def test_a_route_whose_baseline_is_missing_is_refused_alone(start_gateway, tmp_path):
    """The other models are served; this one says why it is not, and the process is not ready."""
    config = write_route(tmp_path / "config", "good")
    write_route(config, "bad", arms={"old": {"model": "file:missing.onnx", "role": "baseline"}})
    gateway = start_gateway(config)

    assert ask(gateway.http, "/v2/models/good/infer", BODY)[0] == 200
    status, _, answer = ask(gateway.http, "/v2/models/bad/infer", BODY)
    assert status == 503
    assert "missing.onnx" in answer["error"]
    assert ask(gateway.http, "/v2/health/ready")[0] == 503


def test_a_route_that_is_not_critical_does_not_hold_up_the_process(start_gateway, tmp_path):
    config = write_route(tmp_path / "config", "good")
    write_route(config, "bad", arms={"old": {"model": "file:missing.onnx", "role": "baseline"}}, critical=False)

    assert ask(start_gateway(config).http, "/v2/health/ready")[0] == 200


def test_a_candidate_that_cannot_be_loaded_keeps_its_units(start_gateway, tmp_path):
    """They are answered by the baseline, and the record says why."""
    arms = {
        "linear": {"model": f"file:{LINEAR}", "role": "baseline"},
        "network": {"model": f"file:{NETWORK}", "role": "candidate", "provider": {"name": "cuda"}},
    }
    config = write_route(tmp_path / "config", arms=arms, strategy={"kind": "ab", "shares": {"network": "100%"}})
    gateway = start_gateway(config)
    status, headers, _ = ask(gateway.http, "/v2/models/digits/infer", BODY)
    gateway.stop()

    assert (status, headers["x-turnout-arm"], headers["x-turnout-fallback"]) == (200, "linear", "not_ready")
    (event,) = gateway.events("request")
    assert event["assigned_arm"] == "network"
    assert "arm_refused" in [event["kind"] for event in gateway.events("life")]


def test_a_preferred_provider_that_is_not_there_is_said_aloud(start_gateway, tmp_path):
    """Nobody runs on a CPU without knowing: the index, an event, a metric and every call say so."""
    arms = {
        "linear": {"model": f"file:{LINEAR}", "role": "baseline"},
        "network": {
            "model": f"file:{NETWORK}",
            "role": "candidate",
            "provider": {"name": "cuda", "policy": "prefer"},
        },
    }
    config = write_route(tmp_path / "config", arms=arms, strategy={"kind": "ab", "shares": {"network": "100%"}})
    gateway = start_gateway(config)
    _, headers, _ = ask(gateway.http, "/v2/models/digits/infer", BODY)
    degraded = ask_metric(gateway.metrics, 'turnout_arm_degraded{arm="network",provider="cpu",route="digits"}')
    _, _, index = ask(gateway.http, "/v2/repository/index", b"{}")
    gateway.stop()

    assert (headers["x-turnout-arm"], degraded) == ("network", 1.0)
    assert [("cuda" in row["reason"], row["state"]) for row in index] == [(False, "READY"), (True, "READY")]
    assert [event["arm"] for event in gateway.events("life") if event["kind"] == "arm_degraded"] == ["network"]
    assert gateway.events("request")[0]["calls"][0]["provider"] == "cpu"


def test_an_arm_of_another_signature_is_refused(start_gateway, tmp_path):
    """A candidate that answers other tensors than the baseline cannot be swapped in for it."""
    constant = tmp_path / "other.json"
    constant.write_text(json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1]}]}))
    arms = {
        "linear": {"model": f"file:{LINEAR}", "role": "baseline"},
        "other": {"model": f"constant:{constant}", "role": "candidate"},
    }
    config = write_route(tmp_path / "config", arms=arms, strategy={"kind": "ab", "shares": {"other": "100%"}})
    gateway = start_gateway(config)
    assert ask(gateway.http, "/v2/models/digits/infer", BODY)[1]["x-turnout-fallback"] == "not_ready"
    gateway.stop()

    (refused,) = [event for event in gateway.events("life") if event["kind"] == "arm_refused"]
    assert "its outputs are y; the baseline's output 'label' is missing" in refused["message"]


def test_a_forced_arm_needs_the_token_in_the_file(start_gateway, tmp_path):
    config = write_route(tmp_path / "config")
    (config / "token").write_text("0123456789abcdef\n")
    (config / "turnout.yaml").write_text("turnout: v1\noverride_token_file: token\n")
    gateway = start_gateway(config)
    forced = {"x_turnout_arm": "network"}

    assert ask(gateway.http, "/v2/models/digits/infer", BODY, **forced)[0] == 403
    right = ask(gateway.http, "/v2/models/digits/infer", BODY, x_turnout_override_token="0123456789abcdef", **forced)
    assert (right[0], right[1]["x-turnout-arm"], right[1]["x-turnout-reason"]) == (200, "network", "override")


def test_events_can_go_to_standard_output(tmp_path):
    command = [sys.executable, "-m", "gateway", "serve", str(LINEAR), "--port", "0", "--state", str(tmp_path)]
    process = subprocess.Popen([*command, "--events", "-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    first = json.loads(process.stdout.readline())
    while json.loads(process.stdout.readline())["kind"] != "started":
        continue
    process.terminate()
    rest = process.stdout.read()
    process.wait(30)
    process.stdout.close()

    assert first["event"] == "life"
    assert json.loads(rest.splitlines()[-1])["kind"] == "stopped"
