"""`turnout serve` with arms on a cluster that is not there: nobody waits for it, and no Ray is needed to say so."""

import json
from pathlib import Path

import pytest

from tests.gateway.cli.test_serve import BODY, ask, run

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


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_files_for_tls_that_cannot_be_used_are_told_before_anything_listens(tmp_path, content):
    """A gateway that could trust no replica says so at once."""
    settings = {"address": "127.0.0.1:6379", "secret_file": "secret", "tls": {"ca_file": "ca.crt"}}
    (tmp_path / "turnout.yaml").write_text(json.dumps({"turnout": "v1", "ray": settings}))
    (tmp_path / "routes").mkdir()
    arms = {"here": {"model": f"file:{MODEL}", "role": "baseline"}}
    route = {"turnout": "v1", "route": "digits", "arms": arms, "strategy": {"kind": "baseline"}}
    (tmp_path / "routes/digits.yaml").write_text(json.dumps(route))
    if content is not None:
        (tmp_path / "ca.crt").write_text(content)
    refused = run("serve", tmp_path, "--port", 0, "--state", tmp_path / "state")
    assert (2, 1) == (refused.returncode, refused.stderr.count("\n")), refused.stderr
    assert f"ray: tls: {tmp_path / 'ca.crt'}: these files cannot be used: " in refused.stderr
