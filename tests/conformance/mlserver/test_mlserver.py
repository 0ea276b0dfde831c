"""A model at MLServer beside one held here: a canary between two servers that know nothing of each other.

MLServer runs in an environment of its own, as users start it; `make clients` makes that environment.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import onnxruntime as ort
import pytest

ROOT = Path(__file__).parents[3]
SERVER = ROOT / ".venv-mlserver" / "bin" / "mlserver"
MODELS = ROOT / "configs" / "models"
LINEAR, NETWORK = MODELS / "digits-linear.onnx", MODELS / "digits-mlp.onnx"
ROWS = [row["pixels"] for row in json.loads((ROOT / "examples/digits/rows.json").read_text())][:40]
FAILS, LIES = 99, 98  # see onnx_model.py
START_LIMIT_S = 60


@pytest.fixture
def mlserver(tmp_path, free_port):
    """MLServer with the model `digits`; its HTTP port, and gRPC on the next."""
    if sys.version_info >= (3, 13):
        pytest.skip("MLServer has no release for this Python")
    assert SERVER.exists(), ".venv-mlserver is missing; cure: make clients"
    settings = {"host": "127.0.0.1", "http_port": free_port, "grpc_port": free_port + 1, "metrics_port": free_port + 2}
    model = {
        "name": "digits",
        "platform": "onnx",
        "implementation": "onnx_model.OnnxModel",
        "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        ],
        "parameters": {"uri": str(NETWORK), "version": "2"},
    }
    folder = tmp_path / "mlserver"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    (folder / "model-settings.json").write_text(json.dumps(model))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SERVER, "start", folder], stdout=log, stderr=log, env=environment)
    try:
        wait_until_ready(free_port, process, folder / "log")
        yield process, free_port
    finally:
        process.kill()
        process.wait()


def wait_until_ready(port: int, process: subprocess.Popen, log: Path) -> None:
    until = monotonic() + START_LIMIT_S
    while monotonic() < until and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/v2/models/digits/ready"):
                return
        except URLError:
            sleep(0.1)
    raise AssertionError(f"MLServer did not start:\n{log.read_text()}")


@pytest.fixture(params=["http", "grpc"])
def canary(request, mlserver, start_gateway, tmp_path):
    """A gateway with a canary at half: `here` is embedded, `there` at MLServer."""
    url = f"{request.param}://127.0.0.1:{mlserver[1] + (request.param == 'grpc')}"
    arms = {
        "here": {"model": f"file:{LINEAR}", "role": "baseline"},
        "there": {"model": "remote:digits", "role": "candidate", "url": url, "version": "2"},
    }
    route = {
        "turnout": "v1",
        "route": "digits",
        "timeout": "10s",
        "arms": arms,
        "strategy": {"kind": "canary", "candidate": "there", "ramp": [{"share": "50%"}]},
    }
    (tmp_path / "config" / "routes").mkdir(parents=True)
    (tmp_path / "config" / "routes" / "digits.yaml").write_text(json.dumps(route))
    return start_gateway(tmp_path / "config")


def ask(port: int, unit: str, row: list[float]) -> tuple[str, str, list]:
    """The arm that answered, why it had to step in, and the outputs."""
    tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": row}
    body = json.dumps({"inputs": [tensor]}).encode()
    request = Request(f"http://127.0.0.1:{port}/v2/models/digits/infer", body, {"x-turnout-unit": unit})
    with urlopen(request, timeout=30) as response:
        outputs = json.load(response)["outputs"]
        headers = response.headers
    return headers["x-turnout-arm"], headers.get("x-turnout-fallback", ""), [each["data"] for each in outputs]


def test_a_canary_runs_between_a_model_at_mlserver_and_one_held_here(canary):
    """Units are dealt, kept, and get to the last bit what ONNX Runtime answers for their arm's file."""
    sessions = {"here": ort.InferenceSession(LINEAR), "there": ort.InferenceSession(NETWORK)}
    told = Counter()
    for number, row in enumerate(ROWS):
        arm, cause, outputs = ask(canary.http, f"u{number}", row)
        expected = sessions[arm].run(None, {"pixels": np.array([row], np.float32)})
        assert ("", [a.ravel().tolist() for a in expected]) == (cause, outputs)
        assert (arm, "", outputs) == ask(canary.http, f"u{number}", row)
        told[arm] += 1
    assert {"here", "there"} == set(told)


@pytest.mark.parametrize(("first", "cause"), [(FAILS, "error"), (LIES, "invalid_output")])
def test_a_model_that_fails_at_mlserver_is_stepped_in_for(canary, first, cause):
    """Whether it raises there or leaves out an output, the client gets the baseline's answer."""
    told = {ask(canary.http, f"u{number}", [first, *ROWS[0][1:]])[:2] for number in range(20)}
    assert {("here", ""), ("here", cause)} == told


def test_everybody_is_answered_when_mlserver_is_killed(canary, mlserver):
    """Its units are answered here, for the cause that its server is away."""
    mlserver[0].kill()
    mlserver[0].wait()
    told = {ask(canary.http, f"u{number}", ROWS[0])[:2] for number in range(20)}
    assert {("here", ""), ("here", "not_ready")} == told
