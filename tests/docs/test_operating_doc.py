"""What the operator's page shows is what a shell answers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")
SESSIONS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def answer(tmp_path):
    """Runs one line in a directory that holds a copy of configs/, as somebody who has just installed Turnout would."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}

    def run(line: str) -> str:
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout

    return run


@pytest.mark.timeout(400)  # dozens of commands, each a process that imports the whole gateway
def test_every_command_is_answered_as_shown(answer):
    """In the order of the page, for one step builds on another."""
    steps = [
        step for session in SESSIONS for step in re.findall(r"^\$ (.*?)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    ]

    assert len(steps) > 20
    for line, shown in steps:
        assert timeless(answer(line)) == timeless(shown), line


def timeless(text: str) -> str:
    """Without what differs from day to day and from desk to desk."""
    return re.sub(r"\S+@\S+ *", "you@desk ", re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-11-26 12:00:00", text))
