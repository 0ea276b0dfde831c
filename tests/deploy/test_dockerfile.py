"""The Dockerfile: linted, and every instruction of the image on the CPU carried out, on a machine without an engine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import REPOSITORY, TOOLS

CARRY_OUT = Path(__file__).parent / "carry_out.py"
PRIVATE = ("unshare", "--mount", "--propagation", "private")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of the image: see carry_out.py."""
    if not os.environ.get("CI") and (os.geteuid() or subprocess.run([*PRIVATE, "true"], check=False).returncode):
        pytest.skip("only root may give an image a file system of its own")
    scratch = tmp_path_factory.mktemp("image")
    done = subprocess.run(
        [*PRIVATE, sys.executable, CARRY_OUT, scratch], check=False, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_linter_has_nothing_to_say() -> None:
    """Whoever knows Dockerfiles finds nothing to mend."""
    done = subprocess.run([TOOLS / "hadolint", REPOSITORY / "Dockerfile"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.timeout(1800)
def test_the_image_serves_as_a_user_nobody_knows_on_a_root_nobody_can_write(seen: dict[str, Any]) -> None:
    """A cluster that deals out user ids and mounts the root read-only runs the image as it is."""
    assert (True, False) == (seen["healthy"], seen["root_writable"])


@pytest.mark.timeout(1800)
def test_the_image_stops_in_order_when_asked(seen: dict[str, Any]) -> None:
    """SIGTERM is heard by the gateway itself, which drains and ends with 0."""
    assert seen["status"] == 0
    assert "stopping: requests under way have" in seen["said"]


@pytest.mark.timeout(1800)
def test_the_image_is_nobody_special_and_has_every_extra(seen: dict[str, Any]) -> None:
    """Not root, and with what arms on Ray and models from BentoML need."""
    assert seen["user"] == "10001:10001"
    assert {"turnout", "ray", "bentoml", "psycopg"} <= set(seen["installed"])
