"""What the hop to a replica costs: the same model asked in this process, and over a socket in another, in turn.

    .venv/bin/python benchmarks/hop.py [--seconds 1.5] [--rounds 3]

The replica is a plain process; Ray is on the path of no request, so it is in no figure here. Callers are closed loops:
each asks again once it has its answer. Every round measures every way, so that what the machine does meanwhile is done
to all. Times are of processors, so that they mean something on a machine that others use as well: of this process, its
callers included, and of the replica. The last column is the median of the ratios within each round.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, process_time

import msgspec
import numpy as np
import onnx
import onnx.parser
import uvloop

from benchmarks.batching import loop_plainly
from benchmarks.models import draw_input, make_workload
from runners.core.runner import Endpoint, ModelRef
from runners.core.tensor import InferenceRequest, Tensor
from runners.embedded import Embedded
from runners.ray.endpoint import HopEndpoint
from runners.ray.members import Address, Member, Membership
from runners.ray.serving import serve_hop
from runners.ray.settings import Dial, Listen

AT_ONCE = (1, 16, 64)
LARGE_ROWS = 2300  # of 4 KiB: 9.4 MB in, and as much out
LARGE_GRAPH = '<ir_version: 9, opset_import: ["": 17]> m (float[N,1024] x) => (float[N,1024] y) { y = Identity(x) }'
DEADLINE_S = 30.0
Ask = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Cell:
    """One way of one model with so many callers: calls a second, milliseconds, and processor time a call."""

    what: str
    way: str
    at_once: int
    calls_s: float
    p50_ms: float
    p99_ms: float
    here_us: float = 0.0
    replica_us: float = 0.0


async def load(ask: Ask, at_once: int, seconds: float, replica_pid: int = 0) -> tuple[float, ...]:
    """Calls a second, median and 99th percentile in milliseconds, processor time a call here and there."""
    times: list[float] = []
    until = perf_counter() + seconds
    here_s, there_s = process_time(), spent_s(replica_pid)

    async def caller() -> None:
        while (began := perf_counter()) < until:
            await ask()
            times.append(perf_counter() - began)
            await asyncio.sleep(0)  # a model on this very loop never waits, and the others want their turn

    began = perf_counter()
    await asyncio.gather(*[caller() for _ in range(at_once)])
    took_s = perf_counter() - began
    ordered = sorted(times)
    cpu_us = [s / len(times) * 1e6 for s in (process_time() - here_s, spent_s(replica_pid) - there_s)]
    return len(times) / took_s, median(ordered) * 1e3, ordered[int(len(ordered) * 0.99)] * 1e3, *cpu_us


def spent_s(pid: int) -> float:
    """Processor time of another process, 0 for none."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def replica(folder: Path, model: Path) -> AsyncIterator[tuple[dict[str, HopEndpoint], int]]:
    """A replica process of this model: an endpoint over each of its two sockets, and its number."""
    secret = folder / "secret"
    secret.write_bytes(b"of sixteen bytes or more")
    words = [__file__, "--replica", str(model), str(secret), str(folder / f"{model.parent.name}.sock")]
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=-1, stdout=-1)
    address = msgspec.json.decode(await process.stdout.readline(), type=Address)
    ways = {"unix": Address(unix=address.unix), "tcp": Address(host=address.host, port=address.port)}
    endpoints = {}
    for way, where in ways.items():
        endpoints[way] = HopEndpoint("arm", Dial(secret))
        endpoints[way].update(Membership(1, (Member("arm", "r", where),)))
        await endpoints[way].greeted(DEADLINE_S)
    try:
        yield endpoints, process.pid
    finally:
        for endpoint in endpoints.values():
            await endpoint.close()
        process.stdin.close()
        await process.wait()


def be_replica(model: Path, secret: Path, unix: str) -> None:
    hop = serve_hop(lambda: opened(model), Listen("r", secret, unix=unix, host="127.0.0.1"))
    sys.stdout.write(msgspec.json.encode(hop.address).decode() + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    hop.close()


async def opened(model: Path) -> Endpoint:
    return await Embedded().open(ModelRef(f"file:{model.name}", model.parent))


def asking(endpoint: Endpoint, x: np.ndarray) -> Ask:
    request = InferenceRequest("m", (Tensor("x", "FP32", x),))
    return lambda: endpoint.infer(request, deadline_at=monotonic() + DEADLINE_S)


async def small_models(folder: Path, seconds: float) -> list[Cell]:
    cells = []
    for name in ("tiny", "medium"):
        model, x = make_workload(name).models["old"], draw_input(name)
        here = await opened(model)
        async with replica(folder, model) as (there, pid):
            for at_once in AT_ONCE:
                for way, endpoint in {"here": here, **there}.items():
                    await load(asking(endpoint, x), at_once, 0.3)
                    other = 0 if way == "here" else pid
                    cells.append(Cell(name, way, at_once, *await load(asking(endpoint, x), at_once, seconds, other)))
        await here.close()
        if name == "medium":
            pace = await asyncio.to_thread(loop_plainly, model, 64, seconds)
            cells.append(Cell(name, "loop", 64, pace.per_second, 0.0, 0.0))
    return cells


async def large_model(folder: Path, seconds: float) -> list[Cell]:
    """Megabytes there and back, and what a small request beside them waits."""
    model = folder / "large" / "m.onnx"
    model.parent.mkdir(exist_ok=True)
    onnx.save(onnx.parser.parse_model(LARGE_GRAPH), model)
    x = np.random.default_rng(1).standard_normal((LARGE_ROWS, 1024)).astype("<f4")
    here = await opened(model)
    cells = [Cell("large", "here", 1, *await load(asking(here, x), 1, seconds))]
    await here.close()
    async with replica(folder, model) as (there, pid):
        for way, endpoint in there.items():
            cells.append(Cell("large", way, 1, *await load(asking(endpoint, x), 1, seconds, pid)))
            ping = InferenceRequest("m", (Tensor("x", "FP32", x[:1]),))
            beside = asyncio.create_task(load(asking(endpoint, x), 1, seconds))
            ask = lambda e=endpoint, p=ping: e.infer(p, deadline_at=monotonic() + DEADLINE_S)  # noqa: E731
            cells.append(Cell("small beside", way, 1, *await load(ask, 1, seconds)))
            await beside
    return cells


def ratio(cells: list[Cell], cell: Cell) -> float:
    """Calls a second as a share of what is done without the hop; of the loop where there is one."""
    against = [c for c in cells if c.what == cell.what and c.way == "loop" and c.at_once == cell.at_once]
    against += [c for c in cells if c.what == cell.what and c.way == "here" and c.at_once == cell.at_once]
    return cell.calls_s / against[0].calls_s if against else 0.0


def report(rounds: list[list[Cell]]) -> None:
    sys.stdout.write(
        "| model | way | at once | calls/s | p50 ms | p99 ms | CPU µs here | there | of here |\n|" + "---|" * 9 + "\n"
    )
    for index, cell in enumerate(rounds[0]):
        same = [cells[index] for cells in rounds]
        figures = [
            median(getattr(c, name) for c in same) for name in ("calls_s", "p50_ms", "p99_ms", "here_us", "replica_us")
        ]
        share = median(ratio(cells, cells[index]) for cells in rounds)
        calls_s, p50_ms, p99_ms, here_us, replica_us = figures
        words = f"{calls_s:.0f} | {p50_ms:.3f} | {p99_ms:.2f} | {here_us:.0f} | {replica_us:.0f} | {share:.2f}"
        sys.stdout.write(f"| {cell.what} | {cell.way} | {cell.at_once} | {words} |\n")


async def measure(seconds: float, rounds_n: int) -> list[list[Cell]]:
    rounds = []
    for _ in range(rounds_n):
        with TemporaryDirectory(prefix="hop") as folder:
            rounds.append(await small_models(Path(folder), seconds) + await large_model(Path(folder), seconds))
    return rounds


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replica"]:
        be_replica(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--seconds", type=float, default=1.5)
        parser.add_argument("--rounds", type=int, default=3)
        arguments = parser.parse_args()
        report(uvloop.run(measure(arguments.seconds, arguments.rounds)))
