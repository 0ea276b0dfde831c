"""The load generators, both written in C: wrk for HTTP/1.1, h2load for gRPC. One request is sent over and over.

Both are closed loops: a connection (with h2load: a stream) sends its next request when it has its answer. Latencies are
thus those of a server kept exactly so busy, not of one that a crowd runs over.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import Workload

CASES = {"json": "HTTP JSON", "binary": "HTTP binary", "grpc": "gRPC"}
LUA = Path(__file__).with_name("post.lua")
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
STREAMS = {1: (1, 1), 16: (4, 4), 64: (8, 8)}  # calls at once -> connections, streams on each
PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux"}
GRACE_S = 30.0  # beyond its own duration, for a generator that does not come back
IN_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}


class LoadFailed(Exception):
    """A load generator did not do what it was asked."""


@dataclass(frozen=True)
class Load:
    """What to send, where, how many at once, and for how long."""

    case: str  # a key of CASES
    workload: Workload
    port: int
    at_once: int
    seconds: int
    cpu: int


@dataclass(frozen=True)
class Measured:
    """What came back. Latencies are in milliseconds; `failed_n` counts answers that were none."""

    requests_n: int
    per_second: float
    p50_ms: float
    p99_ms: float
    failed_n: int
    answer_bytes: int  # of all bodies together, 0 where the generator does not tell


def missing_packages(cases: Sequence[str]) -> list[str]:
    """Debian packages that must be installed before `cases` can be measured."""
    tools = {"grpc": "h2load", "json": "wrk", "binary": "wrk"}
    needed = {"taskset", *(tools[case] for case in cases)}
    return sorted(PACKAGES[tool] for tool in needed if shutil.which(tool) is None)


def send(load: Load) -> Measured:
    """Load the server and wait for the end of it. Raises LoadFailed."""
    return _h2load(load) if load.case == "grpc" else _wrk(load)


def parse_wrk(text: str) -> Measured:
    """What wrk prints with --latency. Raises LoadFailed."""
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failed_n = sum(map(int, broken.groups())) if broken else 0
    return Measured(
        requests_n=int(_found(r"(\d+) requests in", text)),
        per_second=float(_found(r"Requests/sec:\s+([\d.]+)", text)),
        p50_ms=_percentile(50, text),
        p99_ms=_percentile(99, text),
        failed_n=failed_n + (int(refused[1]) if refused else 0),
        answer_bytes=0,
    )


def parse_h2load(text: str, log: str) -> Measured:
    """What h2load prints, and its log of one line per request: start, status, microseconds. Raises LoadFailed."""
    done_n, succeeded_n = int(_found(r"(\d+) done", text)), int(_found(r"(\d+) succeeded", text))
    latencies = sorted(int(line.split("\t")[2]) for line in log.splitlines() if line.count("\t") >= 2)
    if not latencies:
        raise LoadFailed(f"h2load finished no request:\n{text}")
    return Measured(
        requests_n=done_n,
        per_second=float(_found(r"finished in [\d.]+\w+, ([\d.]+) req/s", text)),
        p50_ms=_rank(latencies, 0.50) / 1e3,
        p99_ms=_rank(latencies, 0.99) / 1e3,
        failed_n=done_n - succeeded_n,
        answer_bytes=int(_found(r"\((\d+)\) data", text)),
    )


def _wrk(load: Load) -> Measured:
    is_binary = load.case == "binary"
    environment = {
        **os.environ,
        "BODY": str(load.workload.bodies[load.case]),
        "CONTENT_TYPE": "application/octet-stream" if is_binary else "application/json",
        "JSON_LENGTH": str(load.workload.json_length) if is_binary else "",
    }
    url = f"http://127.0.0.1:{load.port}/v2/models/{load.workload.name}/infer"
    given = ["-t1", f"-c{load.at_once}", f"-d{load.seconds}s", "--timeout", "10s", "--latency", "-s", str(LUA), url]
    return parse_wrk(_run(["wrk", *given], load, environment))


def _h2load(load: Load) -> Measured:
    connections, streams = STREAMS.get(load.at_once, (load.at_once, 1))
    url = f"http://127.0.0.1:{load.port}{GRPC_PATH}"
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        given = ["-t1", f"-c{connections}", f"-m{streams}", "-D", f"{load.seconds}", f"--log-file={log}"]
        text = _run(["h2load", *given, "-d", str(load.workload.bodies["grpc"]), *headers, url], load, dict(os.environ))
        return parse_h2load(text, log.read_text())


def _run(command: list[str], load: Load, environment: dict[str, str]) -> str:
    pinned = ["taskset", "-c", str(load.cpu), *command]
    try:
        done = subprocess.run(
            pinned, env=environment, capture_output=True, text=True, check=False, timeout=load.seconds + GRACE_S
        )
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"{command[0]} did not end within {load.seconds + GRACE_S:g} s") from None
    if done.returncode != 0:
        raise LoadFailed(f"{command[0]} ended with status {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


def _percentile(rank: int, text: str) -> float:
    found = re.search(rf"^\s+{rank}%\s+([\d.]+)(us|ms|s|m|h)\s*$", text, re.MULTILINE)
    if found is None:
        raise LoadFailed(f"wrk told no {rank}th percentile:\n{text}")
    return float(found[1]) * IN_MS[found[2]]


def _rank(ordered: Sequence[int], share: float) -> int:
    """The nearest-rank percentile of what is in order already."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise LoadFailed(f"this is not what the load generator used to print:\n{text}")
    return found[1]
