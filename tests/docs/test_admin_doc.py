"""docs/admin.openapi.json is the document that the operator's side shows, and docs/admin.md shows what it does."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from gateway.admin.api import described_app
from gateway.admin.callers import DENIALS_N
from gateway.admin.gate import BODY_LIMIT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "admin.md").read_text("utf-8")
SESSIONS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
CURE = "turnout serve, then: curl -s localhost:8003/openapi.json | python -m json.tool > docs/admin.openapi.json"


def test_the_committed_document_is_the_one_that_is_shown():
    """Whoever generates a client finds in the repository what a gateway answers to /openapi.json."""
    shown = described_app(None, None, version("turnout")).openapi()  # type: ignore[arg-type]  # nothing is asked
    assert json.loads((ROOT / "docs/admin.openapi.json").read_text()) == shown, CURE


@pytest.fixture
def answer(tmp_path, gateway_process):
    """Runs one line beside a gateway that serves a copy of configs/, with its own port in the place of 8003."""
    configs = shutil.copytree(ROOT / "configs", tmp_path / "configs")
    gateway = gateway_process([str(configs)], tmp_path / ".turnout", {"LOGNAME": "ann"})
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash"],
        cwd=tmp_path,
        env=os.environ | {"PATH": tools, "NO_COLOR": "1", "TURNOUT_TOKEN": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def run(line: str) -> str:
        shell.stdin.write(line.replace("8003", str(gateway.admin)) + "\necho; echo END\n")
        shell.stdin.flush()
        told = "".join(iter(shell.stdout.readline, "END\n"))
        return told.replace(f"ann@{socket.gethostname()}", "ann@desk").strip("\n") + "\n"

    yield run
    shell.stdin.close()
    shell.wait()
    shell.stdout.close()
    gateway.stop()
    gateway.kill()


def test_every_command_is_answered_as_shown(answer):
    """In the order of the page; `…` stands for what is another each time."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    steps = [
        step for session in SESSIONS for step in re.findall(r"^\$ (.*?)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    ]
    assert 7 < len(steps)
    for line, shown in steps:
        told = answer(line)
        assert re.fullmatch(re.escape(shown).replace("…", ".*"), told), (line, told)


def test_every_path_is_on_the_page():
    """Whoever looks for a verb finds its path."""
    paths = json.loads((ROOT / "docs/admin.openapi.json").read_text())["paths"]
    moves = {path.rpartition("/")[2] for path in paths if "/routes/{route}/" in path}
    assert set() == {path for path in paths if f" {path}`" not in PAGE and path.rpartition("/")[2] not in moves}
    assert set() == {move for move in moves if not re.search(rf"[`/]{move}`", PAGE)}


def test_the_limits_are_those_that_hold():
    assert f"longer than {BODY_LIMIT >> 20} MiB" in PAGE
    assert (60, True) == (DENIALS_N, "at most sixty in a minute" in PAGE)
