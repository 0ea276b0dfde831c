"""A token that the command printed forces its arm at a gateway that runs."""

import http.client
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "configs" / "models"
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    arms = {
        "linear": {"model": f"file:{MODELS / 'digits-linear.onnx'}", "role": "baseline"},
        "network": {"model": f"file:{MODELS / 'digits-mlp.onnx'}", "role": "candidate"},
    }
    (tmp_path / "config" / "routes").mkdir(parents=True)
    document = {"turnout": "v1", "route": "digits", "arms": arms, "strategy": {"kind": "baseline"}}
    (tmp_path / "config" / "routes" / "digits.yaml").write_text(json.dumps(document))
    (tmp_path / "config" / "turnout.yaml").write_text("turnout: v1\noverride_token_file: key\n")
    (tmp_path / "config" / "key").write_text("0123456789abcdef\n")
    return tmp_path / "config"


def run(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "override", *words, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def ask(port: int, arm: str, token: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"x-turnout-arm": arm, "x-turnout-override-token": token}
    connection.request("POST", "/v2/models/digits/infer", BODY, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, response.headers.get("x-turnout-arm", "")


def test_a_printed_token_forces_its_arm_and_no_other(config, start_gateway):
    gateway = start_gateway(config)
    token = run(config, "digits", "network", "--for", "5m").stdout.strip()

    assert (200, "network") == ask(gateway.http, "network", token)
    assert 403 == ask(gateway.http, "linear", token)[0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["cats", "network"], "no route is called 'cats'; there is digits"),
        (["digits", "old"], "route 'digits' has no arm 'old'; there is linear, network"),
        (["digits", "network", "--for", "ever"], "--for: 'ever' is no duration; write it like"),
    ],
)
def test_a_mistake_is_one_clear_line(config, words, text):
    done = run(config, *words)
    assert (2, "") == (done.returncode, done.stdout)
    assert text in done.stderr


def test_without_a_secret_nobody_may_force_an_arm(config):
    (config / "turnout.yaml").unlink()
    assert "names no override_token_file" in run(config, "digits", "network").stderr
