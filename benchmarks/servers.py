"""The servers that are measured, each in processes of its own: the floor, the gateway under one strategy, and peers.

A gateway runs as anybody would start it, `turnout serve DIRECTORY`, with every setting at its default: events are
written, metrics counted, one request in a hundred traced and its spans exported.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import SHAPES, Workload
from benchmarks.peer_servers import PEERS, launch

FLOOR = "floor"
STRATEGIES: Mapping[str, dict[str, object]] = {  # by the name a server has in tables
    "none": {"strategy": {"kind": "baseline"}},
    "ab": {"strategy": {"kind": "ab", "shares": {"new": "50%"}}},
    "canary": {"strategy": {"kind": "canary", "candidate": "new", "ramp": [{"share": "5%", "bake": "10m"}]}},
    "shadow": {"strategy": {"kind": "baseline"}, "shadow": [{"candidate": "new", "share": "100%"}]},
}
ON_RAY = "ray"  # the gateway as under "none", with its arms on a Ray that is begun and ended with it
GATEWAYS = (*STRATEGIES, ON_RAY)
LOOP = "loop"  # no server: the model itself in a plain loop of batches, which is what its servers are compared to
SERVERS = (FLOOR, LOOP, *GATEWAYS, *PEERS)
ROOT = Path(__file__).parents[1]
PORTS = {
    "metrics": re.compile(r"metrics http://[^\s:]+:(\d+)"),
    "grpc": re.compile(r"grpc://[^\s:]+:(\d+)"),
    "http": re.compile(r"(?<!metrics )http://[^\s:]+:(\d+)"),
    "admin": re.compile(r"admin http://[^\s:]+:(\d+)"),
}
START_LIMIT_S = 60.0
REPLICA_LIMIT_S = 180.0  # for Ray to start replicas, on a core that others want as well
STOP_LIMIT_S = 15.0
GONE = "ZX"  # states of proc(5) in which a process has ended already


class ServerFailed(Exception):
    """A server did not start, or did not stop as it should."""


@dataclass(frozen=True)
class Station:
    """What all servers of one run share. `scratch` is for files that are worth nothing afterwards."""

    workload: Workload
    scratch: Path
    cpu: int | str  # what taskset takes: a core, or several as in "0,1"
    trace_endpoint: str


@dataclass(frozen=True)
class Running:
    """A server that answers. `ports` are by protocol: http, grpc, and metrics where there are any."""

    name: str
    ports: Mapping[str, int]
    processes: Mapping[str, int]  # protocol -> the id of the process that answers
    start_s: float


@contextmanager
def serve(name: str, station: Station, document: Mapping[str, object] | None = None) -> Iterator[Running]:
    """Run the server called `name` until the block is left; with a `document`, a gateway of that route. Raises
    ServerFailed.
    """
    if name in PEERS:
        with _serve_peer(name, station) as running:
            yield running
        return
    if name == FLOOR:
        commands = _floor_commands(station)
    else:
        commands = {"http": _gateway_command(name, station, document or route_document(name, station.workload))}
    started_at = time.monotonic()
    logs = {protocol: station.scratch / f"{name}-{protocol}.log" for protocol in commands}
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for protocol, command in commands.items():
            children[protocol] = _start(command, logs[protocol], station, {}, ROOT)
        ports = _await_ports(name, children, logs)
        if name == ON_RAY:
            _await_replicas(station, logs["http"])
        processes = {protocol: children.get(protocol, children["http"]).pid for protocol in ("http", "grpc")}
        yield Running(name, ports, processes, time.monotonic() - started_at)
    finally:
        _stop(children)
        shutil.rmtree(_state(name, station), ignore_errors=True)  # a gateway keeps up to a gigabyte of events


def cases_of(name: str, cases: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `cases` that a server speaks: the floor and the gateway all of them."""
    if name == LOOP:  # it has one figure, which stands in the table of the first
        return cases[:1]
    return tuple(case for case in cases if name not in PEERS or case in PEERS[name].cases)


@contextmanager
def serve_hanging(station: Station) -> Iterator[int]:
    """A server that never answers an inference, on the same cores; its port."""
    log = station.scratch / "hanging.log"
    (given,), (_, wanted) = SHAPES[station.workload.name][0], next(iter(station.workload.expected.values())).shape
    script = ROOT / "benchmarks" / "peers" / "hanging.py"
    command = [sys.executable, str(script), station.workload.name, str(given), str(wanted)]
    child = _start(command, log, station, {}, ROOT)
    try:
        yield _await_ports("hanging", {"http": child}, {"http": log}, wanted=("http",))["http"]
    finally:
        _stop({"http": child})


@contextmanager
def _serve_peer(name: str, station: Station) -> Iterator[Running]:
    start = launch(name, station.workload, station.scratch)
    log = start.folder / "log"
    started_at = time.monotonic()
    child = _start(start.command, log, station, start.environment, start.folder)
    try:
        _await_listening(name, child, start.ports["http"], log)
        yield Running(name, start.ports, dict.fromkeys(start.ports, child.pid), time.monotonic() - started_at)
    finally:
        _stop({"http": child})
        for folder in start.leftovers:
            shutil.rmtree(folder, ignore_errors=True)


def _await_replicas(station: Station, log: Path) -> None:
    """Wait until there is a replica of each arm; before that the gateway answers without. Raises ServerFailed."""
    members = _state(ON_RAY, station) / "ray" / "members.json"
    ends_at = time.monotonic() + REPLICA_LIMIT_S
    while time.monotonic() < ends_at:
        with suppress(OSError, ValueError):
            ready = {each["arm_key"] for each in json.loads(members.read_text())["members"] if each["state"] == "ready"}
            if len(ready) == len(station.workload.models):
                return
        time.sleep(0.1)
    said = log.read_text(errors="replace")[-4000:]
    raise ServerFailed(f"{ON_RAY} has no replicas after {REPLICA_LIMIT_S:g} s:\n{said}")


def _await_listening(name: str, child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until somebody listens. Raises ServerFailed."""
    ends_at = time.monotonic() + START_LIMIT_S
    while time.monotonic() < ends_at and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ServerFailed(f"{name} did not start:\n{log.read_text(errors='replace')[-4000:]}")


def read_ports(log: str) -> dict[str, int]:
    """The ports a server says it listens on."""
    found = {protocol: pattern.search(log) for protocol, pattern in PORTS.items()}
    return {protocol: int(match[1]) for protocol, match in found.items() if match}


def write_config(folder: Path, strategy: str, workload: Workload) -> None:
    """A config directory with one route under one strategy."""
    write_route(folder, route_document(strategy, workload))


def route_document(strategy: str, workload: Workload) -> dict[str, object]:
    """One route under one strategy; the document differs from the others in nothing else, on Ray in where arms are."""
    where = {"runner": "ray", "resources": {"num_cpus": 0.5}} if strategy == ON_RAY else {}  # Ray may deal out one CPU
    return {
        "turnout": "v1",
        "route": workload.name,
        "arms": {
            arm: {"model": f"file:{path.resolve()}", "role": "candidate" if place else "baseline", **where}
            for place, (arm, path) in enumerate(workload.models.items())
        },
        **STRATEGIES["none" if strategy == ON_RAY else strategy],
    }


def write_route(folder: Path, document: Mapping[str, object]) -> None:
    routes = folder / "routes"
    routes.mkdir(parents=True, exist_ok=True)
    (routes / f"{document['route']}.yaml").write_text(json.dumps(document, indent=2))  # JSON is YAML, too


def _floor_commands(station: Station) -> dict[str, list[str]]:
    model = str(station.workload.models["old"])
    script = str(ROOT / "benchmarks" / "peers" / "floor.py")
    return {protocol: [sys.executable, script, protocol, model] for protocol in ("http", "grpc")}


def _gateway_command(name: str, station: Station, document: Mapping[str, object]) -> list[str]:
    config = station.scratch / f"{name}-config"
    write_route(config, document)
    state = str(_state(name, station))
    command = [sys.executable, "-m", "gateway", "serve", str(config), "--port", "0", "--state", state]
    return [*command, "--ray", "local"] if name == ON_RAY else command


def _state(name: str, station: Station) -> Path:
    return station.scratch / f"{name}-state"


def _start(
    command: list[str], log: Path, station: Station, more: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment = {**inherited, "OTEL_EXPORTER_OTLP_ENDPOINT": station.trace_endpoint}
    if more:  # a peer traces nothing
        environment = {**inherited, **more}
    with log.open("wb") as written:
        return subprocess.Popen(
            ["taskset", "-c", str(station.cpu), *command],
            cwd=folder,
            env=environment,
            stdout=written,
            stderr=written,
            start_new_session=True,  # so that whoever will not stop is ended with all that it started
        )


def _await_ports(
    name: str,
    children: Mapping[str, subprocess.Popen[bytes]],
    logs: Mapping[str, Path],
    wanted: tuple[str, ...] = ("http", "grpc"),
) -> dict[str, int]:
    """Wait until all ports are told. Raises ServerFailed."""
    ends_at = time.monotonic() + START_LIMIT_S
    while time.monotonic() < ends_at:
        text = "\n".join(log.read_text(errors="replace") for log in logs.values())
        ports = read_ports(text)
        if set(wanted) <= ports.keys():
            return ports
        if any(child.poll() is not None for child in children.values()):
            break
        time.sleep(0.02)
    raise ServerFailed(f"{name} did not start:\n{text[-4000:]}")


def _stop(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        child.terminate()
    for child in children.values():
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_LIMIT_S)
        _end_session(child.pid)  # also those it left behind, as LitServe does
        child.wait()


def session_of(leader: int) -> list[int]:
    """The processes of the session that `leader` began, in whatever groups they are: Ray's workers have their own."""
    members = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it ended meanwhile
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == leader and state not in GONE:
                    members.append(int(folder.name))
    return members


def _end_session(leader: int) -> None:
    """Kill what is left of a session, and what is started meanwhile."""
    ends_at = time.monotonic() + STOP_LIMIT_S
    while (members := session_of(leader)) and time.monotonic() < ends_at:
        for process in members:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
