"""A Ray cluster of one node, for a laptop and for tests: started with a gateway, gone with it.

Everything of it lies in one folder and belongs to one session of processes, so that another Ray on this machine is
neither used nor hurt.
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from runners.ray.agent import ENVIRONMENT
from runners.ray.replica import HOST_VARIABLE, SECRET_VARIABLE

PR_SET_PDEATHSIG = 1
STORE_BYTES = 100_000_000  # no tensor passes through it; Ray takes no less
STOP_LIMIT_S = 3.0  # Ray waits for what it ends, and what is left of it is ended here
KILL_LIMIT_S = 10.0  # a killed process that has a hundred MB to give back takes its time on a busy machine
LOOK_S = 0.02


class LocalRayFailed(Exception):
    """The cluster could not be started; the text is for whoever asked for it."""


class LocalRay:
    """`ray start --head --block` as a child. Methods block."""

    def __init__(self, *, cpus_n: int | None = None) -> None:
        """`cpus_n` are those it deals out, by default all of this machine."""
        self.folder = Path(tempfile.mkdtemp(prefix="tr-"))  # Ray's sockets lie below it and must have short names
        self.secret = self.folder / "secret"
        self.secret.write_text(secrets.token_hex(32))
        self.secret.chmod(0o600)
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        # Ray listens on every interface, and takes whatever token lies in somebody's home where it is given none.
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self._cpus_n = cpus_n
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def begin(self) -> None:
        """Start it, from a thread that lives as long as it shall: Linux ends it when that thread has gone."""
        self._port = _free_port()
        self.address = f"127.0.0.1:{self._port}"
        command = [
            *(sys.executable, "-c", "from ray.scripts.scripts import main; main()"),
            *("start", "--head", "--block", f"--port={self._port}", f"--temp-dir={self.folder}"),
            *("--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"),
            *(f"--object-store-memory={STORE_BYTES}", f"--ray-client-server-port={_free_port()}"),
            *((f"--num-cpus={self._cpus_n}",) if self._cpus_n is not None else ()),
        ]
        environment = (
            os.environ
            | ENVIRONMENT
            | self.environment
            | {SECRET_VARIABLE: str(self.secret), HOST_VARIABLE: "127.0.0.1"}
        )
        path = os.pathsep.join([*(each for each in sys.path if each), os.environ.get("PYTHONPATH", "")])
        with (self.folder / "start.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                command,
                stdout=log,
                stderr=log,
                env=environment | {"PYTHONPATH": path},
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, no lock
            )

    def is_up(self) -> bool:
        """Whether drivers may connect. Raises LocalRayFailed once it has ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            said = " ".join(self._said().decode(errors="replace").split())[-500:]
            raise LocalRayFailed(f"a local Ray did not start: {said or 'it said nothing'}")
        return b"Ray runtime started" in self._said()

    def stop(self) -> None:
        """End all of its processes and remove its folder; twice is harmless."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_LIMIT_S)
            end_session(process.pid)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _said(self) -> bytes:
        with suppress(OSError):
            return (self.folder / "start.log").read_bytes()
        return b""


def end_session(leader: int) -> None:
    """Kill whatever its leader started, until none is left: what starts between two looks is found by the next.

    What a process of Ray says of itself cannot be searched for a name: it writes its title over its environment.
    """
    until = monotonic() + KILL_LIMIT_S
    while (members := processes_of(leader)) and monotonic() < until:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        sleep(LOOK_S)


def processes_of(leader: int) -> list[int]:
    """The processes of a session that have not ended; a zombie has, whoever should have waited for it."""
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            state, _, _, session = (each / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(int(each.name))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
