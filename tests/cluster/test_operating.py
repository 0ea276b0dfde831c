"""What an operator does with arms on Ray: the verbs are those for any other arm."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from tests.cluster.conftest import arm
from tests.gateway.cli.test_serve import BODY, ask

ROOT = Path(__file__).parents[2]


@pytest.fixture
def turnout(gateway):
    """Runs a verb at the gateway, and returns its exit status and what it printed."""

    def run(*words: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*map(str, words), "--server", f"http://127.0.0.1:{gateway.admin}"])
        return done.exit_code, done.output

    return run


@pytest.fixture
def changed(world, tmp_path):
    """The directory with another candidate in the mixed route."""

    def folder(model: str = "digits-new", **words: object) -> Path:
        copy = shutil.copytree(world, tmp_path / "changed", dirs_exist_ok=True)
        file = copy / "routes" / "mixed.yaml"
        document = json.loads(file.read_text())
        document["arms"]["new"] = arm(model, "candidate", "v9", **words)
        file.write_text(json.dumps(document))
        return copy

    return folder


def replicas(processes) -> int:
    return sum("ServeReplica" in line for line in processes())


def answering(gateway) -> set[str]:
    """Who answers the mixed route; every request must be answered by the arm it was meant for."""
    told = [ask(gateway.http, "/v2/models/mixed/infer", BODY, x_turnout_unit=f"u{n}") for n in range(30)]
    assert {(200, "")} == {(status, headers.get("x-turnout-fallback", "")) for status, headers, _ in told}
    return {headers["x-turnout-version"] for _, headers, _ in told}


def test_a_new_arm_is_ready_before_it_is_live_and_the_old_one_ends(gateway, turnout, changed, processes, wait_until):
    """Two replicas more than before while both revisions are there; after an undo they are gone."""
    wait_until(lambda: not answering(gateway) - {"v1", "v2"})
    before = replicas(processes)
    status, said = turnout("apply", changed(replicas=2))
    assert 0 == status, said
    assert {"v1", "v9"} == answering(gateway)  # at once: nobody waited for a replica
    status, said = turnout("undo")
    assert 0 == status, said
    assert {"v1", "v2"} == answering(gateway)
    wait_until(lambda: replicas(processes) == before)


def test_a_model_that_cannot_answer_on_ray_is_refused_and_nothing_changes(gateway, world, turnout, changed):
    """It fails on the replica that would have served, which is said, and the live revision stays."""
    shutil.copyfile(ROOT / "examples" / "faults" / "raises-always.onnx", world / "models" / "broken.onnx")
    live = json.loads(turnout("status", "-o", "json")[1])["live"]["revision"]
    status, said = turnout("apply", changed("broken"))
    assert 2 == status, said
    assert "mixed" in said
    assert live == json.loads(turnout("status", "-o", "json")[1])["live"]["revision"]
    assert {"v1", "v2"} == answering(gateway)
