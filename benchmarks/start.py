"""How long `turnout serve` takes from the command until it is ready, and how much memory each of its processes holds.

    .venv/bin/python benchmarks/start.py [--rounds N] [--workers N]

A gateway without models serves one constant; one with models the two of configs/. The first round fills the system's
caches and is left out. Times on the clock are those of a machine as busy as this one; processor times are steadier.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from benchmarks.machine import end_in_order
from benchmarks.readings import family_of, read_cpu_s, read_own_memory_mib
from benchmarks.servers import ROOT, START_LIMIT_S, read_ports

CONSTANT = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [0.5]}]}
IMPORTS = """
from time import perf_counter, process_time
clock, cpu = perf_counter(), process_time()
import gateway.event_log, gateway.link, gateway.logs, gateway.main, gateway.serving, uvloop
print(perf_counter() - clock, process_time() - cpu)
"""


@dataclass(frozen=True)
class Start:
    """One start: seconds on the clock and of all its processes' time, and MiB by process, the control process first.

    `resident` counts what processes share for each of them, `proportional` once.
    """

    ready_s: float
    cpu_s: float
    resident: tuple[float, ...]
    proportional: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    end_in_order()
    imports = [time_imports() for _ in range(given.rounds + 1)][1:]
    clock_s, cpu_s = (median(column) for column in zip(*imports, strict=True))
    print(f"importing what a worker is made of: {clock_s:.2f} s, of processor time {cpu_s:.2f} s\n")
    print(
        "| served | ready, s | processor time, s | control, MiB | each worker, MiB | together, MiB | shared once, MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as scratch:
        served = {"a constant": write_constant(Path(scratch)), "two small models": ROOT / "configs"}
        for name, config in served.items():
            starts = [start_once(config, given.workers) for _ in range(given.rounds + 1)][1:]
            print(f"| {name} | " + " | ".join(cells(starts)) + " |")


def cells(starts: list[Start]) -> Iterator[str]:
    yield f"{median(start.ready_s for start in starts):.2f}"
    yield f"{median(start.cpu_s for start in starts):.2f}"
    yield f"{median(start.resident[0] for start in starts):.0f}"
    yield f"{median(max(start.resident[1:]) for start in starts):.0f}"
    yield f"{median(sum(start.resident) for start in starts):.0f}"
    yield f"{median(sum(start.proportional) for start in starts):.0f}"


def time_imports() -> tuple[float, float]:
    """Seconds on the clock and of processor time, in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True)
    clock_s, cpu_s = map(float, ran.stdout.split())
    return clock_s, cpu_s


def start_once(config: Path, workers: int) -> Start:
    """Start a gateway, look at it, and stop it."""
    with running(config, workers) as gateway:
        resident, proportional = zip(*map(read_own_memory_mib, family_of(gateway.process)), strict=True)
        return Start(gateway.ready_s, read_cpu_s(gateway.process), resident, proportional)


@dataclass(frozen=True)
class Gateway:
    """One that is ready; `process` is its control process."""

    process: int
    ports: Mapping[str, int]
    ready_s: float


@contextmanager
def running(config: Path, workers: int) -> Iterator[Gateway]:
    """A gateway in processes of its own, stopped when the block is left."""
    with TemporaryDirectory() as state:
        log = Path(state) / "log"
        where = ["--port", "0", "--state", state, "--workers", str(workers)]
        began = monotonic()
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", str(config), *where], cwd=ROOT, stderr=written
            )
        try:
            while not (ports := read_ports(log.read_text())):
                if process.poll() is not None or monotonic() - began > START_LIMIT_S:
                    sys.exit(f"the gateway did not start:\n{log.read_text()}")
                sleep(0.005)
            yield Gateway(process.pid, ports, monotonic() - began)
        finally:
            process.terminate()
            process.wait()


def write_constant(folder: Path) -> Path:
    """A configuration of one route that runs no model."""
    (folder / "routes").mkdir()
    (folder / "constant.json").write_text(json.dumps(CONSTANT))
    arms = {"constant": {"model": "constant:constant.json", "role": "baseline"}}
    route = {"turnout": "v1", "route": "constant", "arms": arms, "strategy": {"kind": "baseline"}}
    (folder / "routes" / "constant.yaml").write_text(json.dumps(route))
    return folder


if __name__ == "__main__":
    main()
