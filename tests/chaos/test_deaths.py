"""SIGKILL at any instant, half of the time while a change is made: what was live or what was to be is served again.

A dozen deaths in the ordinary suite; `make chaos` makes a hundred.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep

import pytest

from gateway.state.shelf import Shelf

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "configs" / "models"
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()
DEATHS_N = int(os.environ.get("TURNOUT_CHAOS_DEATHS", "4"))
IS_LONG = "TURNOUT_CHAOS_DEATHS" in os.environ
READY_S = 5.0  # asked for where `make chaos` runs alone; a suite that shares its machine only prints it
LIMIT_S = 60


def documents(number: int) -> dict[str, str]:
    """The `number`th change: its timeout tells it from the others."""
    arms = {
        "linear": {"model": f"file:{MODELS / 'digits-linear.onnx'}", "role": "baseline"},
        "network": {"model": f"file:{MODELS / 'digits-mlp.onnx'}", "role": "candidate"},
    }
    shares = {"network": "100%" if number % 2 else "0%"}
    document = {"turnout": "v1", "route": "digits", "arms": arms, "timeout": f"{10_000 + number}ms"}
    return {"routes/digits.yaml": json.dumps(document | {"strategy": {"kind": "ab", "shares": shares}})}


def write(config: Path) -> Path:
    for path, text in documents(0).items():
        (config / path).parent.mkdir(parents=True)
        (config / path).write_text(text)
    return config


def served(port: int) -> tuple[int, str]:
    """The revision and the arm that one request on a connection of its own meets."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v2/models/digits/infer", BODY)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    assert response.status == 200, content
    return int(response.headers["x-turnout-revision"]), response.headers["x-turnout-arm"]


def until(holds, what: str) -> None:
    ends_at = monotonic() + LIMIT_S
    while not holds():
        assert monotonic() < ends_at, what
        sleep(0.02)


def everywhere(gateway, number: int) -> bool:
    """Whether whoever answers is at a revision; a dozen connections meet every worker."""
    with suppress(OSError, HTTPException):
        return all(served(gateway.http)[0] == number for _ in range(12))
    return False


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Applying(threading.Thread):
    """One change that somebody asks for. `told` is its answer, None if none came."""

    def __init__(self, operator, number: int) -> None:
        super().__init__()
        self.told: tuple[int, dict] | None = None
        self._operator, self._number = operator, number

    def run(self) -> None:
        with suppress(OSError, HTTPException, ValueError):
            body = {"documents": documents(self._number)}
            self.told = self._operator.ask("POST", "/v1/apply", body)


def verify(state: Path) -> str:
    command = [sys.executable, "-m", "gateway", "audit", "verify", "--state", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_what_was_live_or_was_to_be_is_served_after_a_death(start_gateway, start_again, operator_of, tmp_path, capsys):
    """No instant is a bad one: nothing is half published, and nothing that was told is lost."""
    chance = random.Random(5)
    config = write(tmp_path / "config")
    gateway = start_gateway(config, "--workers", "2")
    live, times_s = 1, []
    for number in range(1, DEATHS_N + 1):
        applying = Applying(operator_of(gateway), number)
        if number % 2:
            applying.start()
            sleep(chance.uniform(0.0, 0.15))
        else:
            sleep(chance.uniform(0.0, 0.05))
        gateway.kill()
        if number % 2:
            applying.join()
        began_at = monotonic()
        gateway = start_again(gateway, config, "--workers", "2")
        revision, arm = served(gateway.http)
        times_s.append(monotonic() - began_at)

        was_told = applying.told is not None and applying.told[0] == 200
        assert revision in ({live + 1} if was_told else {live, live + 1} if number % 2 else {live})
        live = revision
        shelf = Shelf(gateway.state)
        kept = shelf.store().live()
        shelf.close()
        share = json.loads(kept.content.documents["routes/digits.yaml"])["strategy"]["shares"]["network"]
        assert (kept.number, arm) == (live, {"0%": "linear", "100%": "network"}[share])
    assert verify(gateway.state) == ""
    assert "Traceback" not in gateway.log()
    with capsys.disabled():
        sys.stdout.write(f"\nready {max(times_s):.2f} s after a death at most, over {DEATHS_N}; {live} revisions\n")
    if IS_LONG:
        assert max(times_s) < READY_S


def test_workers_serve_on_when_the_control_process_dies(start_gateway, operator_of, tmp_path):
    gateway = start_gateway(write(tmp_path / "config"), "--workers", "2")
    assert operator_of(gateway).ask("POST", "/v1/apply", {"documents": documents(1)})[0] == 200
    workers = gateway.workers()
    applying = Applying(operator_of(gateway), 2)
    applying.start()
    sleep(0.03)
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    applying.join()

    found = {served(gateway.http) for _ in range(40)}
    assert found <= {(2, "network"), (3, "linear")}
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
    until(lambda: not any(map(is_running, workers)), "workers did not end")


def test_a_worker_that_dies_during_a_change_is_replaced_at_what_is_live(start_gateway, operator_of, tmp_path):
    """Whatever became of the change: everybody routes by the same revision, which is the one that is stored."""
    gateway, chance = start_gateway(write(tmp_path / "config"), "--workers", "2"), random.Random(9)
    operator = operator_of(gateway)
    for number in range(1, 21 if IS_LONG else 5):
        applying = Applying(operator, number)
        applying.start()
        sleep(chance.uniform(0.0, 0.1))
        worker = chance.choice(gateway.workers())
        os.kill(worker, signal.SIGKILL)
        applying.join()
        status, told = applying.told
        live = operator.ask("GET", "/v1/revisions/live")[1]["revision"]
        if status == 200:
            assert told["live"] == live
        else:
            assert (status, "while it opened its models" in told["error"]) == (409, True), told
        until(lambda gone=worker: gone not in gateway.workers() and len(gateway.workers()) == 2, "nobody came")
        until(lambda now=live: everywhere(gateway, now), f"not everybody is at revision {live}")
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log()
