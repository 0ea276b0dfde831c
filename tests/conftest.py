"""The real command in a process of its own, for tests that ask what a user would."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

ROOT = Path(__file__).parents[1]
START_LIMIT_S = 30
STOP_LIMIT_S = 30
ADDRESSES = re.compile(r"http://\S+?:(\d+), grpc://\S+?:(\d+), metrics http://\S+?:(\d+)")


class GatewayProcess:
    """`turnout serve …` on free ports, ready for requests; its events can be read once it has stopped."""

    def __init__(self, arguments: list[str], state: Path, environment: dict[str, str]) -> None:
        self.state = state
        self._log = state.with_suffix(".log")
        command = [sys.executable, "-m", "gateway", "serve", *arguments, "--port", "0", "--state", str(state)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, env=os.environ | environment)
        self.http, self.grpc, self.metrics = self._wait_for_ports()

    def log(self) -> str:
        return self._log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT_S)

    def events(self, kind: str) -> list[dict]:
        """The events of one kind, whole once it has stopped."""
        lines = [
            json.loads(line)
            for file in sorted(self.state.glob("events/*/*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        return [line for line in lines if line["event"] == kind]

    def _wait_for_ports(self) -> tuple[int, ...]:
        until = monotonic() + START_LIMIT_S
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
    started: list[GatewayProcess] = []

    def start(*arguments: object, **environment: str) -> GatewayProcess:
        state = tmp_path / f"state-{len(started)}"
        gateway = GatewayProcess([str(argument) for argument in arguments], state, environment)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.process.kill()
        gateway.process.wait()
