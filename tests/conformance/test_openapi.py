"""A fuzzer reads docs/openapi.yaml and asks everything it allows, and much that it does not."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUZZER = ROOT / ".venv-fuzz/bin/schemathesis"
EXAMPLES = 100  # per operation and phase
SEED = 20  # a failure can be had again; other seeds find nothing either
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


@pytest.fixture
def described(tmp_path) -> Path:
    """The document with a model that is there among its models; a made-up name would get no further than a 404."""
    text = (ROOT / "docs/openapi.yaml").read_text()
    aimed, replaced_n = re.subn(r"schema: \{type: string\}, example: digits", "schema: {enum: [digits, nobody]}", text)
    assert 1 == replaced_n
    path = tmp_path / "openapi.yaml"
    path.write_text(aimed)
    return path


@pytest.mark.timeout(240)
def test_no_request_makes_the_server_fail(start_gateway, described, tmp_path):
    """Whatever is sent, the answer is one that the document describes, and never the server's fault."""
    assert FUZZER.exists(), ".venv-fuzz is missing; cure: make clients"
    gateway = start_gateway(ROOT / "configs")
    how = ["--checks", ",".join(CHECKS), "--exclude-tag", "absent", "--phases", "examples,coverage,fuzzing"]
    bounds = ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--continue-on-failure", "--warnings", "off"]
    command = [FUZZER, "run", described, "--url", f"http://127.0.0.1:{gateway.http}", *how, *bounds]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 0 == run.returncode, run.stdout
    assert 0 == gateway.stop()
    assert "broke the gateway" not in gateway.log()
