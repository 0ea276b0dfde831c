"""One gateway with a Ray of its own, for all tests here: `turnout serve --ray local`, as on a laptop.

Ray takes seconds to start and each replica a process, so everybody shares them, and nothing is killed or frozen here:
that is for `make chaos`. Run it as `make cluster`.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.conformance.conftest import Client
from tests.conformance.test_inference import UNITS_N, request

ROOT = Path(__file__).parents[2]
WORLD = ROOT / "tests" / "conformance" / "world.py"
MARK = "TURNOUT_CLUSTER_TEST"
START_LIMIT_S = 180
END_LIMIT_S = 15
MODELS = ("pair", "text", "digits", "bool", "fp16", "bf16")  # both arms of each are replicas
SINGLE = ("bool", "fp16", "bf16")  # where both arms compute the same, one application does for both
STRATEGIES = {
    "baseline": {"strategy": {"kind": "baseline"}},
    "ab": {"strategy": {"kind": "ab", "shares": {"new": "50%"}}},
    "canary": {"strategy": {"kind": "canary", "candidate": "new", "ramp": [{"share": "50%"}]}},
    "shadow": {"strategy": {"kind": "baseline"}, "shadow": [{"candidate": "new", "share": "100%"}]},
}
RANKERS = ("profile", "learned")
PART = {"num_cpus": 0.01}  # so that all of them have room on two CPUs


def arm(model: str, role: str, version: str, **more: object) -> dict[str, object]:
    return {
        "model": f"file:models/{model}.onnx",
        "role": role,
        "version": version,
        "outputs": {"nan": "pass"},
        "resources": PART,
        **more,
    }


def route(name: str, old: str, new: str, **words: object) -> dict[str, object]:
    """A route whose arms are all on Ray, unless `words` say otherwise."""
    arms = {"old": arm(old, "baseline", "v1"), "new": arm(new, "candidate", "v2")}
    return {"turnout": "v1", "route": name, "timeout": "30s", "defaults": {"runner": "ray"}, "arms": arms, **words}


def written_routes() -> Iterator[dict[str, object]]:
    for model in MODELS:
        newer = "old" if model in SINGLE else "new"
        for name, words in STRATEGIES.items():
            yield route(f"{model}-{name}", f"{model}-old", f"{model}-{newer}", **words)
    here = {name: word for name, word in arm("digits-old", "baseline", "v1").items() if name != "resources"}
    arms = {
        "old": {**here, "runner": "embedded"},
        "new": arm("digits-new", "candidate", "v2"),
        "watched": arm("digits-old", "candidate", "v3"),
    }
    shadow = [{"candidate": "watched", "share": "100%"}]
    yield {**route("mixed", "", "", **STRATEGIES["ab"]), "arms": arms, "shadow": shadow}
    rankers = {"kind": "interleave", "partners": ["new"], "ids": "ids", "k": 10}
    yield route("ranked", RANKERS[0], RANKERS[1], strategy=rankers, unit={"header": "x-turnout-unit"})
    failing = {"strategy": {"kind": "ab", "shares": {"new": "100%"}}}
    yield route("failing", "digits-old", "raises", **failing)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration directory whose routes are on Ray, and the cases of `make conformance` beside it."""
    folder = tmp_path_factory.mktemp("cluster") / "configs"
    subprocess.run([sys.executable, WORLD, folder], check=True)
    for file in (folder / "routes").iterdir():
        file.unlink()
    for name in RANKERS:
        shutil.copy(ROOT / f"examples/search/{name}.onnx", folder / "models")
    for document in written_routes():
        (folder / "routes" / f"{document['route']}.yaml").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def cases(world: Path) -> list[dict]:
    """What can be asked of the routes here, and what each arm's answer is."""
    found = [case for case in json.loads((world / "cases.json").read_text()) if case["model"] in MODELS]
    assert {case["model"] for case in found} == set(MODELS)
    return found


@pytest.fixture(scope="session")
def mark() -> str:
    """In the environment of all that is started here, by which it can be found afterwards."""
    return secrets.token_hex(8)


@pytest.fixture(scope="session")
def gateway(gateway_process, world: Path, cases: list[dict], mark: str) -> Iterator:
    """A gateway with its Ray; both must end without complaint and leave no process behind."""
    process = gateway_process([str(world), "--ray", "local"], world.parent / "state", {MARK: mark}, START_LIMIT_S)
    _wait_for_replicas(process, cases)
    yield process
    status = process.stop()
    until = monotonic() + END_LIMIT_S
    while (left := marked(mark)) and monotonic() < until:  # the last of them may be giving back their memory
        sleep(0.1)
    assert (0, False, []) == (status, "Traceback" in process.log(), left), process.log()


def _wait_for_replicas(gateway, cases: list[dict]) -> None:
    """A gateway answers before all replicas are there, by copies of its own; tests here are about the replicas."""
    first = {case["model"]: case for case in reversed(cases)}
    asking = Client("reflected", gateway.http, gateway.grpc)
    until = monotonic() + START_LIMIT_S
    for model, case in first.items():
        for number in range(UNITS_N):
            job = request(asking, case, "raw", "ab", number)
            while asking.ask("infer", **job)["parameters"]["turnout_arm"] not in ("old", "new"):
                assert monotonic() < until, f"no replica answers for {model}"
                sleep(0.2)
    asking.stop()


@pytest.fixture(scope="session")
def processes(mark: str) -> Callable[[], list[str]]:
    """The command lines of all that the gateway and its Ray have running."""
    return lambda: marked(mark)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait for a condition, as long as a busy machine may take."""

    def wait(condition: Callable[[], object]) -> None:
        until = monotonic() + START_LIMIT_S / 2
        while not condition():
            assert monotonic() < until, "this did not come true"
            sleep(0.1)

    return wait


@pytest.fixture(scope="session", params=["curl", "reflected"])
def client(request: pytest.FixtureRequest, gateway) -> Iterator[Client]:
    started = Client(request.param, gateway.http, gateway.grpc)
    started.ask("versions")
    yield started
    started.stop()


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    return request.param


def marked(mark: str) -> list[str]:
    sought, found = f"{MARK}={mark}".encode(), []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and int(each.name) != os.getpid():
            with suppress(OSError):
                if sought in (each / "environ").read_bytes():
                    found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
    return found
