"""Stock clients in processes of their own, and one gateway that serves every model under every strategy.

A run needs the environments of `make clients` and fails without them: a client that was not asked proves nothing.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SHADOWS = re.compile(
    r'^turnout_shadow_(calls|dropped)_total\{arm="new",(?:outcome|reason)="(\w+)",route="(.+)"\} (\S+)$'
)
SHADOW_LIMIT_S = 20
HTTP_FORMS = ("json", "binary", "json-to-binary", "binary-to-json", "gzip", "deflate")
CLIENTS = {  # name -> transport, environment, and the forms in which it can send and get tensors
    "triton_http": ("HTTP", ".venv-clients", HTTP_FORMS),
    "triton_http_aio": ("HTTP", ".venv-clients", HTTP_FORMS),
    "triton_grpc": ("gRPC", ".venv-clients", ("raw", "stream", "gzip", "deflate")),
    "triton_grpc_aio": ("gRPC", ".venv-clients", ("raw", "stream", "gzip", "deflate")),
    "kserve_rest": ("HTTP", ".venv-kserve", ("json", "binary")),
    "kserve_grpc": ("gRPC", ".venv-kserve", ("typed", "raw")),
    "curl": ("HTTP", sys.prefix, (*HTTP_FORMS, "bare")),
    "reflected": ("gRPC", sys.prefix, ("typed", "raw")),
}
STRATEGIES = ("baseline", "ab", "canary", "shadow")
PAGE = """# Clients tried

Written by `make conformance ARGS="--write-table docs/conformance.md"` on {date}. A number is how many inferences that
client made of routes under that strategy; each answer was bit-equal to ONNX Runtime's own for the arm that gave it. In
which forms tensors went, and what else was asked, stands in [the protocol](protocol.md#clients-tried).

{table}
"""
COUNTS = pytest.StashKey[Counter]()
VERSIONS = pytest.StashKey[dict]()


class Refused(Exception):
    """What a client library raised, in its own words."""


class Client:
    """One client program; whatever it is asked runs in its process."""

    def __init__(self, name: str, http: int, grpc: int) -> None:
        self.name = name
        self.transport, environment, self.forms = CLIENTS[name]
        python = ROOT / environment / "bin/python"
        assert python.exists(), f"{environment} is missing; cure: make clients"
        command = [python, HERE / "clients" / f"{name}.py", str(http), str(grpc)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do: str, **job: object) -> object:
        """The result of one job. Raises Refused with the text of the client's exception."""
        self._process.stdin.write(json.dumps({"do": do, **job}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{self.name} ended with status {self._process.wait()}"
        result = json.loads(line)
        if "error" in result:
            raise Refused(result["error"])
        return result["value"]

    def stop(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-table", metavar="FILE", help="write the table of clients tried to FILE")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = Counter()
    config.stash[VERSIONS] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how often each client was answered bit by bit as the model itself answers."""
    lines = table(config.stash[VERSIONS], config.stash[COUNTS])
    terminalreporter.section("inferences, each bit-equal to session.run")
    terminalreporter.write("\n".join(lines) + "\n")
    file = config.getoption("--write-table")
    if file and terminalreporter.stats.keys() & {"failed", "error"}:
        terminalreporter.write(f"{file} is left as it was: something failed\n")
    elif file:
        (ROOT / file).write_text(PAGE.format(date=date.today(), table="\n".join(lines)))  # noqa: DTZ011 - of this place


def table(versions: dict[str, str], counts: Counter) -> list[str]:
    lines = ["| client | versions | transport | " + " | ".join(STRATEGIES) + " |", "|---|---|---|" + "---:|" * 4]
    for name, version in versions.items():
        numbers = " | ".join(str(counts[name, strategy]) for strategy in STRATEGIES)
        lines.append(f"| {name.replace('_', ' ')} | {version} | {CLIENTS[name][0]} | {numbers} |")
    return lines


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration directory with every model under every strategy, and the cases beside it."""
    folder = tmp_path_factory.mktemp("world") / "configs"
    subprocess.run([sys.executable, HERE / "world.py", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def cases(world: Path) -> list[dict]:
    return json.loads((world / "cases.json").read_text())


@pytest.fixture(scope="session")
def case(cases: list[dict]):
    """Finds a case by its model and name."""
    found = {(case["model"], case["name"]): case for case in cases}
    return lambda model, name: found[model, name]


@pytest.fixture(scope="session")
def gateway(gateway_process, world: Path) -> Iterator:
    """One process for all clients; it must have nothing to complain of at the end."""
    process = gateway_process([str(world)], world.parent / "state", {})
    yield process
    status = process.stop()
    assert (0, False) == (status, "Traceback" in process.log()), process.log()


@pytest.fixture(scope="session", params=CLIENTS)
def client(request: pytest.FixtureRequest, gateway) -> Iterator[Client]:
    started = Client(request.param, gateway.http, gateway.grpc)
    versions = started.ask("versions")
    request.config.stash[VERSIONS][request.param] = ", ".join(f"{name} {it}" for name, it in versions.items())
    yield started
    started.stop()


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def count(request: pytest.FixtureRequest, client: Client):
    """Counts an inference that came back as it should, for the table at the end."""

    def add(strategy: str, number: int) -> None:
        request.config.stash[COUNTS][client.name, strategy] += number

    return add


@pytest.fixture
def shadow_calls(gateway):
    """How many shadow calls were due since the test began, by model and outcome, once there are as many as expected."""

    def read() -> Counter:
        lines = urlopen(f"http://127.0.0.1:{gateway.metrics}/metrics").read().decode().splitlines()
        found = [match.groups() for match in map(SHADOWS.match, lines) if match]
        return Counter({(route, outcome): int(float(number)) for _, outcome, route, number in found})

    before = read()

    def wait_for(number: int) -> Counter:
        until = monotonic() + SHADOW_LIMIT_S
        while (since := read() - before).total() < number and monotonic() < until:
            sleep(0.05)
        return since

    return wait_for


@pytest.fixture(scope="session")
def known_arms():
    """What the first client to ask found, for every other to agree with."""
    known: dict[str, list[str]] = {}
    return known.setdefault


@pytest.fixture
def outcome():
    """What a client said to a job, be it a result or the text of its exception."""

    def of(client: Client, do: str, **job: object) -> object:
        try:
            return client.ask(do, **job)
        except Refused as refused:
            return str(refused)

    return of
