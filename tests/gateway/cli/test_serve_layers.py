"""A holdout and a layer, as clients of two routes meet them."""

import http.client
import json
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli.app import app

ROOT = Path(__file__).parents[3]
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()
UNITS = [f"account-{n}" for n in range(40)]
FIRST = f"""\
turnout: v1
route: one
layer: shared
slots: 0%-50%
unit: {{header: x-account-id}}
arms:
  linear: {{model: "file:{ROOT}/configs/models/digits-linear.onnx", role: baseline}}
  network: {{model: "file:{ROOT}/configs/models/digits-mlp.onnx", role: candidate}}
strategy: {{kind: ab, shares: {{network: 100%}}}}
"""


def test_what_assign_says_of_layers_is_what_serve_does(start_gateway, tmp_path):
    """Nobody meets the candidates of both routes, and whoever is held out meets none, on either route."""
    config = tmp_path / "config"
    (config / "routes").mkdir(parents=True)
    (config / "layers.yaml").write_text("holdout: {share: 20%}\nlayers: {shared: {}}\n")
    (config / "routes" / "one.yaml").write_text(FIRST)
    (config / "routes" / "two.yaml").write_text("extends: one.yaml\nroute: two\nslots: 50%-100%\n")
    told = {route: assigned(config, route) for route in ("one", "two")}
    gateway = start_gateway(config)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.http, timeout=30)

    served = {route: {unit: served_by(connection, route, unit) for unit in UNITS} for route in told}
    connection.close()
    assert served == told
    held_out = [unit for unit in UNITS if served["one"][unit] == ("linear", "held_out")]
    assert held_out == [unit for unit in UNITS if served["two"][unit] == ("linear", "held_out")]
    assert 0 < len(held_out) < len(UNITS)
    others = [{served[route][unit] for route in served} for unit in UNITS if unit not in held_out]
    assert [{("network", "split"), ("linear", "not_enrolled")}] * len(others) == [
        {(arm, reason.replace("only_arm", "split")) for arm, reason in pair} for pair in others
    ]


def assigned(config: Path, route: str) -> dict[str, tuple[str, str]]:
    arguments = ["assign", route, "--units", "-", "--config", str(config)]
    printed = CliRunner().invoke(app, arguments, input="\n".join(UNITS)).stdout
    return {line["unit"]: (line["arm"], line["reason"]) for line in map(json.loads, printed.splitlines())}


def served_by(connection: http.client.HTTPConnection, route: str, unit: str) -> tuple[str, str]:
    connection.request("POST", f"/v2/models/{route}/infer", BODY, {"x-account-id": unit})
    response = connection.getresponse()
    response.read()
    return response.headers["x-turnout-arm"], response.headers["x-turnout-reason"]
