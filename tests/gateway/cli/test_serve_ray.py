"""`turnout serve` with arms on a cluster that is not there: nobody waits for it, and no Ray is needed to say so."""

import json
from pathlib import Path

from tests.gateway.cli.test_serve import BODY, ask

MODEL = Path(__file__).parents[3] / "configs/models/digits-linear.onnx"


def test_a_gateway_whose_cluster_is_away_answers_by_what_it_holds(start_gateway, free_port, tmp_path):
    """The log says why, and each answer that its arm was not ready."""
    arms = {
        "here": {"model": f"file:{MODEL}", "role": "baseline"},
        "there": {"model": f"file:{MODEL}", "role": "candidate", "runner": "ray"},
    }
    strategy = {"kind": "ab", "shares": {"there": "100%"}}
    (tmp_path / "config/routes").mkdir(parents=True)
    (tmp_path / "config/secret").write_text("s" * 32)
    route = {"turnout": "v1", "route": "digits", "arms": arms, "strategy": strategy}
    (tmp_path / "config/routes/digits.yaml").write_text(json.dumps(route))
    settings = {"turnout": "v1", "ray": {"address": f"127.0.0.1:{free_port}", "secret_file": "secret"}}
    (tmp_path / "config/turnout.yaml").write_text(json.dumps(settings))
    gateway = start_gateway(tmp_path / "config")
    status, headers, _ = ask(gateway.http, "/v2/models/digits/infer", BODY)
    assert (200, "here", "not_ready") == (status, headers["x-turnout-arm"], headers["x-turnout-fallback"])
    assert 0 == gateway.stop()
    assert "does not answer: nobody can be reached there: " in gateway.log()
