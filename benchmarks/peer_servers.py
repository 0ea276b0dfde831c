"""Other servers, started as their own documentation says, each in a virtual environment of its own (`make peers`).

All run the same ONNX file in a session with one thread, in one process for the model and with access logs and telemetry
off. Where a server batches, it is measured without and with it: at most 64 rows, which is what the load can fill.
"""

import json
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.models import Workload

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "benchmarks" / "peers"
QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
}
MLSERVER_WAIT_S = 0.005  # its adaptive batching begins with a wait above 0
MLSERVER_ROWS = 64
RAY_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # by default its workers give way to everybody else on the machine
}
RAY_FAST = {  # what Ray names for throughput: fewer threads and logs in a replica, and HAProxy for its proxy in Python
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
}


@dataclass(frozen=True)
class Peer:
    """How one server is started. `cases` are the protocols it speaks of those that are measured."""

    environment: str  # the virtual environment's folder
    program: tuple[str, ...]  # its first word is looked up in the environment's bin
    cases: tuple[str, ...] = ("json",)
    is_batched: bool = False
    distribution: str = ""  # whose version is told; by default that of the server's name
    starts_in_s: float = 3.0  # about, and stops again
    settings: Mapping[str, str] = field(default_factory=dict)  # more of its environment

    @property
    def lock(self) -> str:
        """The lock that its environment is made of, as in requirements/LOCK.txt."""
        return self.environment.removeprefix(".venv-")


_RAY = Peer(
    ".venv-ray-serve",
    ("python", str(SCRIPTS / "rayserve.py")),
    distribution="ray",
    starts_in_s=15.0,
    settings=RAY_QUIET,
)

PEERS: Mapping[str, Peer] = {  # by the name a server has in tables
    "mlserver": Peer(".venv-mlserver", ("mlserver", "start", "."), ("json", "grpc")),
    "mlserver+batching": Peer(".venv-mlserver", ("mlserver", "start", "."), ("json", "grpc"), is_batched=True),
    "kserve": Peer(".venv-kserve", ("python", str(SCRIPTS / "kserve_server.py")), ("json", "grpc")),
    "bentoml": Peer(".venv-bentoml", ("bentoml", "serve", "bentoml_service:Plain", "--host", "127.0.0.1")),
    "bentoml+batching": Peer(
        ".venv-bentoml", ("bentoml", "serve", "bentoml_service:Batched", "--host", "127.0.0.1"), is_batched=True
    ),
    "litserve": Peer(".venv-litserve", ("python", str(SCRIPTS / "litserve_server.py"))),
    "litserve+batching": Peer(".venv-litserve", ("python", str(SCRIPTS / "litserve_server.py")), is_batched=True),
    "rayserve": _RAY,
    "rayserve+batching": replace(_RAY, is_batched=True),
    "rayserve+haproxy": replace(_RAY, starts_in_s=25.0, settings=RAY_QUIET | RAY_FAST),
}


@dataclass(frozen=True)
class Launch:
    """A command with all it needs."""

    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    ports: Mapping[str, int]
    leftovers: tuple[Path, ...]  # folders to be removed afterwards


def missing_environment(name: str) -> str:
    """Why a peer cannot be started here, "" if it can."""
    peer = PEERS[name]
    if (ROOT / peer.environment / ".installed" / peer.lock).exists():  # written when all of the lock was installed
        return ""
    return f"{peer.environment} is not there or not whole; make it with: make peers"


def version_of(name: str) -> str:
    """A peer's own version, as in "mlserver 1.7.1"."""
    distribution = PEERS[name].distribution or name.partition("+")[0]
    (found,) = (ROOT / PEERS[name].environment).glob(f"lib/python*/site-packages/{distribution}-*.dist-info")
    return f"{distribution} {found.name.removesuffix('.dist-info').rpartition('-')[2]}"


def launch(name: str, workload: Workload, scratch: Path) -> Launch:
    """What starts a peer with the workload's baseline on free ports."""
    peer = PEERS[name]
    ports = free_ports("http", "grpc")
    folder = scratch / name.replace("+", "-")
    folder.mkdir(parents=True, exist_ok=True)
    if peer.environment == ".venv-mlserver":
        _write_mlserver(folder, workload.name, ports, is_batched=peer.is_batched)
    ray_folder = Path("/tmp", f"ray-{secrets.token_hex(4)}")  # its sockets lie deep below it, and 107 bytes are all
    command = [str(ROOT / peer.environment / "bin" / peer.program[0]), *peer.program[1:]]
    if peer.program[0] == "bentoml":
        command += ["--port", str(ports["http"])]
    environment = {
        **QUIET,
        **peer.settings,
        "MODEL": str(workload.models["old"].resolve()),
        "NAME": workload.name,
        "HTTP_PORT": str(ports["http"]),
        "GRPC_PORT": str(ports["grpc"]),
        "BATCHED": str(int(peer.is_batched)),
        "PYTHONPATH": str(SCRIPTS),
        "BENTOML_HOME": str(folder / "bentoml"),
        "MLFLOW_TRACKING_URI": "",
        "RAY_FOLDER": str(ray_folder),
        "RAY_AUTH_MODE": "token",  # it listens on all interfaces
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else it writes one into the home folder
    }
    return Launch(command, environment, folder, ports, (folder, ray_folder))


def free_ports(*names: str) -> dict[str, int]:
    """A port for each name that nobody listens on now."""
    probes = {name: socket.socket() for name in names}
    try:
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: int(probe.getsockname()[1]) for name, probe in probes.items()}
    finally:
        for probe in probes.values():
            probe.close()


def _write_mlserver(folder: Path, model: str, ports: Mapping[str, int], *, is_batched: bool) -> None:
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": ports["http"],
        "grpc_port": ports["grpc"],
        "metrics_endpoint": None,
        "gzip_enabled": False,
        "parallel_workers": 0,
    }
    batching = {"max_batch_size": MLSERVER_ROWS, "max_batch_time": MLSERVER_WAIT_S} if is_batched else {}
    spec = {"name": model, "implementation": "mlserver_model.OnnxModel", **batching}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(spec))
