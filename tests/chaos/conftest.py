"""A lean HTTP client that keeps many connections busy, and a gateway that is watched while it is treated badly."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import onnx.parser
import pytest

ROOT = Path(__file__).parents[2]
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()
HEAD = '<ir_version: 9, opset_import: ["": 17]>\n'
GRAPHS = {
    "floats": "m (float[N,4] x) => (float[N,4] y) { y = Identity(x) }",
    "texts": "m (string[N] x) => (string[N] y) { y = Identity(x) }",
}
ADMIN = re.compile(r"admin https?://\S+?:(\d+)")
IN_FLIGHT = re.compile(r'^turnout_inflight_requests\{route="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """What one client was told."""

    status: int
    request_id: str
    arm: str
    fallback: str
    outputs: str


Exchange = tuple[str, str, bytes]  # route, unit, body


async def send_all(port: int, exchanges: Iterable[Exchange], connections: int) -> list[tuple[Exchange, Told]]:
    """Send everything over so many kept connections; answers in the order they came."""
    waiting = iter(exchanges)
    told: list[tuple[Exchange, Told]] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for exchange in waiting:
            told.append((exchange, await _exchange(reader, writer, exchange)))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(work() for _ in range(connections)))
    return told


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange) -> Told:
    route, unit, body = exchange
    head = f"POST /v2/models/{route}/infer HTTP/1.1\r\nhost: x\r\nx-account-id: {unit}\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    raw = await reader.readuntil(b"\r\n\r\n")
    lines = raw.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    content = json.loads(await reader.readexactly(int(headers["content-length"])))
    return Told(
        status=int(lines[0].split()[1]),
        request_id=headers["x-request-id"],
        arm=headers.get("x-turnout-arm", ""),
        fallback=headers.get("x-turnout-fallback", ""),
        outputs=json.dumps(content.get("outputs")),
    )


@pytest.fixture(name="send_all")
def _send_all() -> Callable[..., Awaitable[list[tuple[Exchange, Told]]]]:
    return send_all


@dataclass(frozen=True)
class Usage:
    """What a process holds: bytes in memory now and at most, open files, requests under way by route."""

    resident: int
    peak: int
    files: int
    in_flight: dict[str, int]


class Operator:
    """Whoever changes what a gateway serves, over its admin port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str, body: object = None, author: str = "") -> tuple[int, dict]:
        """The status and the answer."""
        headers = {"content-type": "application/json", "x-turnout-author": author}
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())


@pytest.fixture
def operator_of() -> Callable[..., Operator]:
    """The operator of a gateway that was started."""
    return lambda gateway: Operator(int(ADMIN.search(gateway.log())[1]))


@pytest.fixture
def start_again(gateway_process) -> Iterator[Callable[..., object]]:
    """Start a gateway on the state of one that has ended; killed at the end of the test."""
    started = []

    def start(before, *arguments: object):
        started.append(gateway_process([str(argument) for argument in arguments], before.state, {}))
        return started[-1]

    yield start
    for gateway in started:
        gateway.kill()


class HostileGateway:
    """A gateway that is about to be treated badly."""

    def __init__(self, gateway) -> None:
        self.http, self.grpc, self.metrics = gateway.http, gateway.grpc, gateway.metrics
        self.stop, self.log, self.state = gateway.stop, gateway.log, gateway.state
        self._process = Path("/proc") / str(gateway.process.pid)

    def usage(self) -> Usage:
        status = dict(line.split(":", 1) for line in (self._process / "status").read_text().splitlines())
        resident, peak = (int(status[name].split()[0]) << 10 for name in ("VmRSS", "VmHWM"))
        return Usage(resident, peak, len(list((self._process / "fd").iterdir())), self._in_flight())

    def forget_peak(self) -> None:
        """Count the most memory from now on."""
        (self._process / "clear_refs").write_text("5")

    def _in_flight(self) -> dict[str, int]:
        with closing(HTTPConnection("127.0.0.1", self.metrics, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        return {name: int(float(n)) for name, n in IN_FLIGHT.findall(text)}


@pytest.fixture
def start_hostile(start_gateway, tmp_path) -> Callable[..., HostileGateway]:
    """Start a gateway with the routes `floats` and `texts`, each of two arms that return what they are given."""
    return lambda **settings: HostileGateway(start_gateway(write_hostile(tmp_path / "config", settings)))


@pytest.fixture(scope="module")
def hostile(start_shared_gateway, tmp_path_factory) -> HostileGateway:
    """The same for all tests of a module, with a limit of 1 MiB."""
    config = write_hostile(tmp_path_factory.mktemp("hostile") / "config", {"body_limit_mib": 1})
    return HostileGateway(start_shared_gateway(config))


def write_hostile(config: Path, settings: dict[str, object]) -> Path:
    (config / "routes").mkdir(parents=True)
    for route, graph in GRAPHS.items():
        (config / f"{route}.onnx").write_bytes(onnx.parser.parse_model(HEAD + graph).SerializeToString())
        arm = {"model": f"file:{route}.onnx", "outputs": {"nan": "pass"}}
        arms = {"old": arm | {"role": "baseline"}, "new": arm | {"role": "candidate"}}
        split = {"kind": "ab", "shares": {"new": "50%"}}
        document = {"turnout": "v1", "route": route, "arms": arms, "strategy": split, "timeout": "30s"}
        (config / "routes" / f"{route}.yaml").write_text(json.dumps(document))
    (config / "turnout.yaml").write_text(json.dumps({"turnout": "v1"} | settings))
    return config


def revision_served(port: int) -> int:
    """The revision by which a request for digits is answered."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v2/models/digits/infer", BODY)
    response = connection.getresponse()
    assert (response.status, bool(response.read())) == (200, True)
    connection.close()
    return int(response.headers["x-turnout-revision"])
