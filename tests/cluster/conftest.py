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
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.cluster.environments import missing_clients
from tests.conformance import conftest as conformance
from tests.conformance.conftest import CLIENTS, Client
from tests.conformance.test_inference import UNITS_N, request

ROOT = Path(__file__).parents[2]
WORLD = ROOT / "tests" / "conformance" / "world.py"
MARK = "TURNOUT_CLUSTER_TEST"
START_LIMIT_S = 300
END_LIMIT_S = 15
SINGLE = ("every", "fp16", "bf16", "fp32", "fp64")  # where both arms compute the same, one application does for both
MODELS = ("pair", "text", "digits", *SINGLE)
FAULTS = {  # model -> why a fallback steps in for it, here and on Ray
    "raises": "error",
    "nan": "invalid_output",
    "wrong-shape": "invalid_output",
}
LATE = "hangs-sometimes"
PLACES = ("embedded", "ray")
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
    for name, model in (("slow", "slow"), ("note", "note-old")):
        yield route(name, "", "", **STRATEGIES["baseline"]) | {"arms": {"old": arm(model, "baseline", "v1")}}
    yield route("pinned", "digits-old", "digits-new", pin=True, **STRATEGIES["ab"])
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
    yield from failing_routes()


def failing_routes() -> Iterator[dict[str, object]]:
    """Candidates that get every unit and answer none: on Ray like their baselines, or like them in the gateway."""
    words = {"strategy": {"kind": "ab", "shares": {"new": "100%"}}}
    yield route("failing", "digits-old", "raises", **words)
    for fault in (*FAULTS, LATE):
        there = route(f"{fault}-ray", "digits-old", fault, timeout="10s", **words)
        there["arms"]["new"]["outputs"] = {"nan": "reject"}
        yield there
        arms = {name: {k: v for k, v in each.items() if k != "resources"} for name, each in there["arms"].items()}
        yield there | {"route": f"{fault}-embedded", "arms": arms, "defaults": {"runner": "embedded"}}


def committed_route() -> str:
    """The route of configs/, as it is but for where its models are hosted, and for a longer time for an answer."""
    text = (ROOT / "configs/routes/digits.yaml").read_text()
    assert (2, 1) == (text.count("    golden: "), text.count("timeout: 1s "))
    text = text.replace("timeout: 1s ", "timeout: 30s ")
    text = text.replace("    golden: ", "    resources: {num_cpus: 0.01}\n    golden: ")
    return text.replace("\narms:\n", "\ndefaults: {runner: ray}\narms:\n")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration directory whose routes are on Ray, and the cases of `make conformance` beside it."""
    folder = tmp_path_factory.mktemp("cluster") / "configs"
    subprocess.run([sys.executable, WORLD, folder], check=True)
    for file in (folder / "routes").iterdir():
        file.unlink()
    shutil.copytree(ROOT / "configs/models", folder / "models", dirs_exist_ok=True)
    for fault in (*FAULTS, LATE):
        shutil.copy(ROOT / f"examples/faults/{fault}.onnx", folder / "models")
    for name in RANKERS:
        shutil.copy(ROOT / f"examples/search/{name}.onnx", folder / "models")
    for document in written_routes():
        (folder / "routes" / f"{document['route']}.yaml").write_text(json.dumps(document))
    (folder / "routes" / "digits.yaml").write_text(committed_route())
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
    asking = Client("reflected", gateway.http, gateway.grpc)
    until = monotonic() + START_LIMIT_S

    def wait(is_there: Callable[[], bool], what: str) -> None:
        while not is_there():
            assert monotonic() < until, f"no replica answers for {what}"
            sleep(0.2)

    def is_replica(job: dict[str, object]) -> bool:
        return asking.ask("infer", **job)["parameters"]["turnout_arm"] in ("old", "new")

    wait(lambda: all(row["state"] == "READY" for row in asking.ask("index")), "some candidate")
    for model, first in {case["model"]: case for case in reversed(cases)}.items():
        for number in range(UNITS_N):
            wait(partial(is_replica, request(asking, first, "raw", "ab", number)), model)
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


@pytest.fixture(scope="session", params=[name for name in CLIENTS if not name.endswith("_aio")])
def client(request: pytest.FixtureRequest, gateway) -> Iterator[Client]:
    """Stock clients where their environments have been made, and those that need none."""
    missing, may_be = missing_clients(ROOT, CLIENTS[request.param][1])
    if missing and (os.environ.get("CI") or not may_be):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    started = Client(request.param, gateway.http, gateway.grpc)
    started.ask("versions")
    yield started
    started.stop()


# What the tests of `make conformance` ask for that is the same here.
case, known_arms, outcome, shadow_calls = (
    getattr(conformance, name) for name in ("case", "known_arms", "outcome", "shadow_calls")
)


@pytest.fixture
def count() -> Callable[[str, int], None]:
    """The table of clients tried tells of `make conformance` alone."""
    return lambda strategy, number: None


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
