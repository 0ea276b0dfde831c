"""What the tests of a failing Ray have in common: clients that never pause, and clusters whose nodes can be killed."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep

from typer.testing import CliRunner

from gateway.cli.app import app
from runners.ray.agent import ENVIRONMENT
from runners.ray.local import STORE_BYTES, end_session, processes_of
from runners.ray.replica import HOST_VARIABLE, SECRET_VARIABLE

ROOT = Path(__file__).parents[2]
BODY = (ROOT / "examples/digits/request.json").read_bytes()
START_LIMIT_S = 180.0
WHOLE_LIMIT_S = 90.0
PAUSE_S = 0.02
LINEAR = "file:models/digits-linear.onnx"


class Clients:
    """Ask without a pause from two connections, and keep who answered and how long the slowest took."""

    def __init__(self, port: int, connections_n: int = 2) -> None:
        self._port = port
        self.told: Counter[tuple[int, str, str]] = Counter()
        self.slowest_s = 0.0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(connections_n)]
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


class Nodes:
    """A Ray that gateways do not start themselves: a head, and nodes beside it on this machine."""

    def __init__(self, folder: Path, hop: dict[str, str] | None = None) -> None:
        """`folder` must have a short name: Ray's sockets lie below it. `hop` is what nodes are told besides."""
        self._folder = folder
        self.secret, token = folder / "secret", folder / "token"
        for file in (self.secret, token):
            file.write_text(secrets.token_hex(32))
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self._hop = {SECRET_VARIABLE: str(self.secret), HOST_VARIABLE: "127.0.0.1", **(hop or {})}
        self._port = free_port()
        self._started: list[subprocess.Popen[bytes]] = []
        self.address = f"127.0.0.1:{self._port}"

    def start_head(self, cpus_n: int) -> int:
        """Returns once drivers may connect; what it returns is for `kill`."""
        place = self._folder / str(len(self._started))  # in one that a head had before, Ray takes a node for that head
        words = ("--head", f"--port={self._port}", "--include-dashboard=false", f"--temp-dir={place}")
        return self._start(*words, f"--ray-client-server-port={free_port()}", cpus_n=cpus_n)

    def start_node(self, cpus_n: int) -> int:
        return self._start(f"--address={self.address}", cpus_n=cpus_n)

    def kill(self, leader: int) -> None:
        """SIGKILL for a node and whatever runs on it."""
        end_session(leader)

    def applications(self) -> list[str]:
        """Which application each replica is of."""
        found = [words_of(pid) for process in self._started for pid in processes_of(process.pid)]
        return sorted(words.split(":")[3] for words in found if words.startswith("ray::ServeReplica:"))

    def stop(self) -> None:
        for process in self._started:
            end_session(process.pid)
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, *words: str, cpus_n: int) -> int:
        code = "from ray.scripts.scripts import main; main()"
        fixed = ("--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats", f"--num-cpus={cpus_n}")
        hop = self._hop | {"PYTHONPATH": os.pathsep.join(sys.path)}
        said = self._folder / f"said-{len(self._started)}"
        with said.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, "start", *fixed, f"--object-store-memory={STORE_BYTES}", *words],
                stdout=log,
                stderr=log,
                env=os.environ | ENVIRONMENT | self.environment | hop,
                start_new_session=True,
            )
        self._started.append(process)
        wait_for(lambda: b"Ray runtime started" in said.read_bytes() or process.poll() is not None, START_LIMIT_S)
        assert process.poll() is None, said.read_text()
        return process.pid


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_ray(role: str, **words: object) -> dict[str, object]:
    """An arm that Ray hosts."""
    return {"model": LINEAR, "role": role, "runner": "ray", "resources": {"num_cpus": 0.1}, **words}


def write_configs(folder: Path, route: dict[str, object], settings: dict[str, object] | None = None) -> Path:
    """A configuration directory with one route."""
    (folder / "routes").mkdir(parents=True)
    shutil.copytree(ROOT / "configs/models", folder / "models")
    (folder / "routes/digits.yaml").write_text(json.dumps({"turnout": "v1", "route": "digits", **route}))
    (folder / "turnout.yaml").write_text(json.dumps({"turnout": "v1", **(settings or {})}))
    return folder


def apply(gateway, folder: Path, arms: dict[str, object]) -> tuple[int, str]:
    """Let the last of these arms answer; returns the exit status of `turnout apply`, and what it said."""
    file = folder / "routes/digits.yaml"
    changed = {"arms": arms, "strategy": {"kind": "ab", "shares": {list(arms)[-1]: "100%"}}}
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    done = CliRunner().invoke(app, ["apply", str(folder), "--server", f"http://127.0.0.1:{gateway.admin}"])
    return done.exit_code, " ".join(done.output.split())


def ready_replicas(gateway) -> set[str]:
    """Those that the gateway has been told of."""
    with suppress(OSError, ValueError):
        members = json.loads((gateway.state / "ray/members.json").read_text())["members"]
        return {member["replica"] for member in members if member["state"] == "ready"}
    return set()


def agents(gateway) -> list[int]:
    """The processes that hold a Ray driver for a gateway."""
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError, IndexError):
            if b"runners.ray.agent import main" in (each / "cmdline").read_bytes():
                parent = int((each / "stat").read_text().rpartition(") ")[2].split()[1])
                found += [int(each.name)] if parent == gateway.process.pid else []
    return found


def words_of(pid: int) -> str:
    """The command line of a process, or the title that it gave itself; "" once it has gone."""
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def wait_for(condition, limit_s: float = WHOLE_LIMIT_S) -> float:
    """How long it took to come true."""
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


def report(what: str, clients: Clients, outcome: str) -> None:
    """A row of the table in docs/ray.md, and the claim that all of them have in common: everybody was answered."""
    told = ", ".join(f"{arm} {why} {n}".replace("  ", " ") for (_, arm, why), n in clients.told.most_common())
    sys.stdout.write(f"\n{what}: {clients.told.total()} asked; {told}; slowest {clients.slowest_s:.2f} s; {outcome}\n")
    assert {200} == {status for status, _, _ in clients.told}


def only_by(arm: str, clients: Clients) -> bool:
    """Whether that arm has answered everything for a second."""
    before, clients.told = clients.told, Counter()
    sleep(1)
    seen, clients.told = clients.told, before + clients.told
    return bool(seen) and {(arm, "")} == {(arm, why) for _, arm, why in seen}
