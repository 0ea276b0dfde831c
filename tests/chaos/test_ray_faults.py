"""What hosts an arm dies part by part while clients ask: all are answered, and what came back is whole again.

Only `make chaos` does this: Ray takes seconds to start, and minutes to notice some of it.
"""

import json
import os
import shutil
import signal
import sys
import threading
from collections import Counter
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep

import pytest

pytestmark = pytest.mark.skipif("TURNOUT_CHAOS_DEATHS" not in os.environ, reason="make chaos kills Ray")

ROOT = Path(__file__).parents[2]
BODY = (ROOT / "examples/digits/request.json").read_bytes()
START_LIMIT_S = 180.0
WHOLE_LIMIT_S = 90.0
PAUSE_S = 0.02
ROUTE = {
    "turnout": "v1",
    "route": "digits",
    "timeout": "5s",
    "arms": {
        "here": {"model": "file:models/digits-linear.onnx", "role": "baseline"},
        "there": {
            "model": "file:models/digits-linear.onnx",
            "role": "candidate",
            "runner": "ray",
            "replicas": 2,
            "resources": {"num_cpus": 0.1},
        },
    },
    "strategy": {"kind": "ab", "shares": {"there": "100%"}},
}


class Clients:
    """Ask without a pause from two connections, and keep who answered and how long the slowest took."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.told: Counter[tuple[int, str, str]] = Counter()
        self.slowest_s = 0.0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def begin(self) -> None:
        """Forget what was told before."""
        self.told, self.slowest_s = Counter(), 0.0

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            while not self._ended.is_set():
                began_at = monotonic()
                connection.request("POST", "/v2/models/digits/infer", BODY)
                response = connection.getresponse()
                response.read()
                self.slowest_s = max(self.slowest_s, monotonic() - began_at)
                arm, fallback = (response.getheader(name, "") for name in ("x-turnout-arm", "x-turnout-fallback"))
                self.told[response.status, arm, fallback] += 1
                sleep(PAUSE_S)


class Site:
    """A gateway with a Ray of its own, which may be hurt."""

    def __init__(self, gateway) -> None:
        self.gateway = gateway
        self._file = gateway.state / "ray/members.json"
        head = next(each for each in Path("/proc").iterdir() if _is_head(each, gateway.process.pid))
        words = (head / "cmdline").read_bytes().split(b"\0")
        self._folder = next(word for word in words if word.startswith(b"--temp-dir=")).partition(b"=")[2]

    def replicas(self) -> set[str]:
        """Those that are said to be ready."""
        with suppress(OSError, ValueError):
            members = json.loads(self._file.read_text())["members"]
            return {member["replica"] for member in members if member["state"] == "ready"}
        return set()

    def processes(self, mark: str) -> list[int]:
        """Of this gateway's Ray alone: its folder is in everybody's environment or on the command line."""
        sought, found = self._folder, []
        for each in (each for each in Path("/proc").iterdir() if each.name.isdigit()):
            with suppress(OSError):
                words = (each / "cmdline").read_bytes()
                if mark.encode() in words and sought in words + (each / "environ").read_bytes():
                    found.append(int(each.name))
        return found

    def agents(self) -> list[int]:
        found = []
        for each in Path("/proc").iterdir():
            with suppress(OSError, IndexError):
                if b"runners.ray.agent import main" in (each / "cmdline").read_bytes():
                    parent = int((each / "stat").read_text().rpartition(") ")[2].split()[1])
                    found += [int(each.name)] if parent == self.gateway.process.pid else []
        return found


def _is_head(process: Path, gateway: int) -> bool:
    with suppress(OSError, IndexError, ValueError):
        words = (process / "cmdline").read_bytes()
        parent = int((process / "stat").read_text().rpartition(") ")[2].split()[1])
        return b"ray.scripts" in words and parent == gateway
    return False


@pytest.fixture(scope="module")
def site(gateway_process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray") / "configs"
    (folder / "routes").mkdir(parents=True)
    shutil.copytree(ROOT / "configs/models", folder / "models")
    (folder / "routes/digits.yaml").write_text(json.dumps(ROUTE))
    made = Site(gateway_process([str(folder), "--ray", "local"], folder.parent / "state", {}, START_LIMIT_S))
    wait_for(lambda: len(made.replicas()) == 2, START_LIMIT_S)
    yield made
    made.gateway.stop()


@pytest.fixture
def clients(site):
    asking = Clients(site.gateway.http)
    sleep(1)
    asking.begin()
    yield asking
    asking.end()


def wait_for(condition, limit_s: float = WHOLE_LIMIT_S) -> float:
    began_at = monotonic()
    while not condition():
        assert monotonic() - began_at < limit_s
        sleep(0.05)
    return monotonic() - began_at


def kill(pids: list[int], number: signal.Signals = signal.SIGKILL) -> None:
    assert pids
    for pid in pids:
        with suppress(ProcessLookupError):  # it went with one that was killed before
            os.kill(pid, number)


def report(what: str, clients: Clients, whole_s: float | None) -> None:
    """A row of the table in docs/ray.md, and the claim that all of them have in common: everybody was answered."""
    told = ", ".join(f"{arm} {why} {n}".replace("  ", " ") for (_, arm, why), n in clients.told.most_common())
    whole = f"whole after {whole_s:.1f} s" if whole_s is not None else "still away"
    sys.stdout.write(f"\n{what}: {clients.told.total()} asked; {told}; slowest {clients.slowest_s:.2f} s; {whole}\n")
    assert {200} == {status for status, _, _ in clients.told}


def only_there(clients: Clients) -> bool:
    """Whether replicas have answered everything for a second."""
    clients_before, clients.told = clients.told, Counter()
    sleep(1)
    seen, clients.told = clients.told, clients_before + clients.told
    return bool(seen) and {("there", "")} == {(arm, why) for _, arm, why in seen}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_of_two_replicas(site, clients, number):
    before = site.replicas()
    kill(site.processes("ServeReplica")[:1], number)
    whole_s = wait_for(lambda: len(site.replicas()) == 2 and site.replicas() != before and only_there(clients))
    report(f"one of two replicas, {number.name}", clients, whole_s)
    assert {"there"} == {arm for _, arm, _ in clients.told}


def test_all_replicas_at_once(site, clients):
    before = site.replicas()
    kill(site.processes("ServeReplica"))
    whole_s = wait_for(lambda: len(site.replicas() - before) == 2 and only_there(clients))
    report("all replicas", clients, whole_s)


def test_the_agent(site, clients):
    (old,) = site.agents()
    kill([old])
    whole_s = wait_for(lambda: bool(site.agents()) and site.agents() != [old])
    sleep(3)
    report("the agent", clients, whole_s)
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}


def test_the_controller_and_then_a_replica(site, clients):
    before = site.replicas()
    kill(site.processes("ServeController"))
    sleep(1)
    kill(site.processes("ServeReplica")[:1])
    whole_s = wait_for(lambda: len(site.replicas()) == 2 and site.replicas() != before and only_there(clients))
    report("Serve's controller, a replica a second later", clients, whole_s)


def test_the_clerk(site, clients):
    kill(site.processes("Clerk"))
    sleep(6)
    whole_s = wait_for(lambda: len(site.replicas()) == 2 and only_there(clients))
    report("the clerk", clients, whole_s)
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}


def test_all_of_ray(site, clients):
    """Last of all: nothing of it comes back. The arm that the gateway holds answers for as long as it takes."""
    kill(site.processes("raylet") + site.processes("gcs_server"))
    wait_for(lambda: not site.processes("ServeReplica"))
    sleep(5)
    report("all of Ray", clients, None)
    clients.begin()
    sleep(2)
    assert {("here", "not_ready")} == {(arm, why) for _, arm, why in clients.told}
