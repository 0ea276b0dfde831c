"""An operator at work while clients ask: every change as typed, and what the clients saw of it."""

import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from claims import Claims
from clients import Answer, GrpcClient, HttpClient
from rich.console import Console
from routes import CLIMB, HALF, LIVE, SHADOWED, write_route
from server import Gateway

UNITS_N = 200
SEEN_N = 300  # answers to wait for after each change, so that its picture is one of the change alone
LIMIT_S = 30
FILE = "the route's file"
BROKEN = CLIMB | {"fallback": ["netwrok"]}
DEEDS: tuple[tuple[tuple[str, ...], dict | None], ...] = (  # what is typed, and what is written just before
    (("apply", FILE, "--reason", "half and half"), HALF),
    (("apply", FILE, "--reason", "in steps rather"), CLIMB),
    (("advance", LIVE), None),
    (("rollback", LIVE, "--reason", "something smells"), None),
    (("restart", LIVE), None),
    (("promote", LIVE), None),
    (("apply", FILE), BROKEN),
    (("undo",), None),
    (("apply", FILE, "--reason", "only beside it"), SHADOWED),
)
Answered = tuple[str, Answer]  # unit, what it was told


class Traffic:
    """Two clients, HTTP and gRPC, that ask without a pause until told to stop."""

    def __init__(self, gateway: Gateway, rows: list[dict]) -> None:
        self.seen: list[Answered] = []
        self.failures: list[str] = []
        self._rows = rows
        self._stopped = threading.Event()
        clients = HttpClient(gateway.ports["http"]), GrpcClient(gateway.ports["grpc"])
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in clients]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def next(self, count: int) -> list[Answered]:
        """The next so many answers."""
        begin, ends_at = len(self.seen), time.monotonic() + LIMIT_S
        while len(self.seen) < begin + count and time.monotonic() < ends_at:
            time.sleep(0.01)
        return self.seen[begin : begin + count]

    def _run(self, client: HttpClient | GrpcClient) -> None:
        number = 0
        while not self._stopped.is_set():
            unit = f"customer-{number % UNITS_N}"
            number += 1
            try:
                answer = client.infer(LIVE, self._rows[number % UNITS_N]["pixels"], unit)
            except Exception as error:  # noqa: BLE001 - whatever it is, a client has lost an answer
                self.failures.append(repr(error))
            else:
                self.seen.append((unit, answer))
            time.sleep(0.001)  # a busy client, and a machine that has something left for the operator


class Operator:
    """Types verbs at a running gateway."""

    def __init__(self, gateway: Gateway, console: Console) -> None:
        self._server = ["--server", f"http://127.0.0.1:{gateway.ports['admin']}"]
        self._console = console

    def types(self, *words: str, expect: int = 0) -> str:
        """Run `turnout` with these words, show them as typed and what came back, and return that."""
        shown = shlex.join(["turnout", *(Path(word).name if "/" in word else word for word in words)])
        said = self.asks(*words, expect=expect)
        self._console.print(f"  [bold]$ {shown}[/bold]")
        for line in said.splitlines():
            if line != LIVE:  # the only route here
                self._console.print(f"    {line.strip().rpartition('/')[2]}", markup=False)
        return said

    def asks(self, *words: str, expect: int = 0) -> str:
        """The same without showing it."""
        command = [sys.executable, "-m", "gateway", *words, *self._server]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != expect:
            raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return (done.stdout + done.stderr).strip()


def show_flips(traffic: Traffic, operator: Operator, config: Path, claims: Claims) -> Iterator[list[str]]:
    """Change traffic while it runs; yields the arms that clients met after each change."""
    file = write_route(config, LIVE, {})
    for words, document in DEEDS:
        if document is not None:
            write_route(config, LIVE, document)
        is_bad = document is BROKEN
        said = operator.types(*(str(file) if word == FILE else word for word in words), expect=2 if is_bad else 0)
        claims.true("flips: the refusal names the mistake", "no arm is called 'netwrok'" in said or not is_bad)
        yield [answer.arm for _, answer in traffic.next(SEEN_N)]


def check_flips(seen: list[Answered], failures: list[str], history: list[dict], claims: Claims) -> None:
    """Nobody lost an answer, and every answer is by the arm that its revision gives its unit."""
    claims.equal("flips: requests that failed", [], failures)
    claims.equal("flips: revisions, of which the refused document made none", len(DEEDS), len(history))
    arms: dict[tuple[int, str], set[str]] = {}
    for unit, answer in seen:
        arms.setdefault((answer.revision, unit), set()).add(answer.arm)
    claims.true("flips: one arm for a unit under a revision", all(len(met) == 1 for met in arms.values()))
    claims.equal("flips: revisions that clients met", {each["revision"] for each in history}, {r for r, _ in arms})
