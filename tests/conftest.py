"""The real command in a process of its own, for tests that ask what a user would."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
from hypothesis import settings

settings.register_profile("turnout", deadline=None)  # no test may depend on how fast the machine is
settings.load_profile("turnout")

ROOT = Path(__file__).parents[1]
START_LIMIT_S = 30
STOP_LIMIT_S = 30
ADDRESSES = re.compile(
    r"https?://\S+?:(\d+), grpcs?://\S+?:(\d+), metrics http://\S+?:(\d+)/metrics, admin https?://\S+?:(\d+)"
)


class GatewayProcess:
    """`turnout serve …` on free ports, ready for requests; its events can be read once it has stopped."""

    def __init__(
        self, arguments: list[str], state: Path, environment: dict[str, str], limit_s: float = START_LIMIT_S
    ) -> None:
        self.state = state
        self._log = state.with_suffix(".log")
        ports = [] if "--port" in arguments else ["--port", "0"]
        command = [sys.executable, "-m", "gateway", "serve", *arguments, *ports, "--state", str(state)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, env=os.environ | environment, start_new_session=True)
        self.http, self.grpc, self.metrics, self.admin = self._wait_for_ports(limit_s)

    def log(self) -> str:
        return self._log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT_S)

    def kill(self) -> None:
        """End all of its processes at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def workers(self) -> list[int]:
        """The ids of the processes that serve, in the order in which they were started."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def events(self, kind: str) -> list[dict]:
        """The events of one kind, whole once it has stopped."""
        lines = [
            json.loads(line)
            for file in sorted(self.state.glob("events/*/*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        return [line for line in lines if line["event"] == kind]

    def _wait_for_ports(self, limit_s: float) -> tuple[int, ...]:
        until = monotonic() + limit_s
        while monotonic() < until:
            found = ADDRESSES.search(self.log())
            if found:
                return tuple(map(int, found.groups()))
            if self.process.poll() is not None:
                break
            sleep(0.02)
        raise AssertionError(f"the gateway did not start:\n{self.log()}")


@pytest.fixture
def start_gateway(tmp_path) -> Iterator:
    """Start gateways with the arguments of `turnout serve`; whatever still runs at the end is killed."""
    yield from _starting(tmp_path)


@pytest.fixture(scope="module")
def start_shared_gateway(tmp_path_factory) -> Iterator:
    """The same, for gateways that the tests of a module share."""
    yield from _starting(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def free_port() -> int:
    """A port with two free ones after it, from below those that systems hand out for connections."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with ExitStack() as held:
            try:
                for number in range(port, port + 3):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", number))
            except OSError:
                continue
        return port


def _starting(folder: Path) -> Iterator:
    started: list[GatewayProcess] = []

    def start(*arguments: object, **environment: str) -> GatewayProcess:
        state = folder / f"state-{len(started)}"
        gateway = GatewayProcess([str(argument) for argument in arguments], state, environment)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.kill()


@pytest.fixture(scope="session")
def gateway_process() -> type[GatewayProcess]:
    """What `start_gateway` starts, for tests that share one process."""
    return GatewayProcess


class Authority:
    """A certificate authority in a folder; what it signs is for localhost."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.ca = folder / f"{name}.crt"
        self._folder = folder
        self._key = folder / f"{name}.key"
        _openssl("-keyout", self._key, "-out", self.ca, "-subj", f"/CN={name}")

    def issue(self, name: str) -> tuple[Path, Path]:
        """A new certificate with that common name, and its key."""
        cert, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        signed = ("-CA", self.ca, "-CAkey", self._key, "-addext", "basicConstraints=critical,CA:FALSE")
        names = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        _openssl("-keyout", key, "-out", cert, "-subj", f"/CN={name}", *signed, *names)
        return cert, key


def _openssl(*arguments: object) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*made, *map(str, arguments)], capture_output=True, check=True)


@pytest.fixture
def authority(tmp_path):
    """Makes authorities: `authority()`, or `authority("another")`."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made by the command openssl, which is not here")
    return lambda name="ca": Authority(tmp_path, name)
