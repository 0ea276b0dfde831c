"""A shell that has read the script completes what somebody types."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TURNOUT = Path(sys.executable).with_name("turnout")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell):
    done = subprocess.run([TURNOUT, "completion", shell], capture_output=True, text=True, check=False)
    assert (0, True) == (done.returncode, "_TURNOUT_COMPLETE" in done.stdout)


def test_bash_completes_a_verb():
    line = (
        f"source <({TURNOUT} completion bash); COMP_WORDS=(turnout rollb) COMP_CWORD=1; _turnout_completion turnout; "
    )
    environment = os.environ | {"PATH": f"{TURNOUT.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", line + ' echo "${COMPREPLY[@]}"'], capture_output=True, text=True, env=environment, check=False
    )
    assert "rollback" == done.stdout.strip()
