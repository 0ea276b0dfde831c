"""The gateway under demonstration: the real command, in a process of its own, on free ports."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

START_LIMIT_S = 30


class Gateway:
    """`turnout serve` on a config directory, from start to SIGTERM."""

    def __init__(self, config: Path, state: Path, steps: list[str]) -> None:
        self._log = state / "log.txt"
        self._state = state
        steps_given = [word for step in steps for word in ("--step", step)]
        self._command = [sys.executable, "-m", "gateway", "serve", str(config), "--port", "0", "--state", str(state)]
        self._command += steps_given
        self.ports: dict[str, int] = {}

    def __enter__(self) -> "Gateway":
        self._state.mkdir(parents=True, exist_ok=True)
        started_at = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stderr=log)
        while not self.ports:
            self.ports = self._read_ports()
            if self._process.poll() is not None or time.monotonic() - started_at > START_LIMIT_S:
                raise SystemExit(f"the gateway did not start:\n{self._log.read_text()}")
            time.sleep(0.02)
        self.start_s = time.monotonic() - started_at
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.terminate()
        self.exit_status = self._process.wait(timeout=60)

    def events(self) -> list[dict]:
        """Everything the gateway wrote down; whole once it has stopped."""
        files = sorted(self._state.glob("events/*/*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def _read_ports(self) -> dict[str, int]:
        address = r"https?://\S+?:(\d+)\S*"
        said = rf"{address} grpc://\S+?:(\d+), metrics {address} admin {address}"
        found = re.search(said, self._log.read_text())
        return dict(zip(("http", "grpc", "metrics", "admin"), map(int, found.groups()), strict=True)) if found else {}
