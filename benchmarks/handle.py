"""One replica of Ray Serve asked over the hop and by Ray's own handle, in turn, beside a plain loop in that replica.

    .venv/bin/python benchmarks/handle.py [--seconds 1.5] [--rounds 3]

A Ray of this machine is begun and ended with it. The hop is asked from this process, which has no Ray, as a gateway's
workers do; the handle from the driver's process, as Serve's own proxy does, by single calls and with Serve's batching
(64 rows, 5 ms). All of them ask the same process, in a session with one thread. README.md says how callers ask, and
what the columns mean; `here` is the model without any way to it.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

import onnxruntime
import uvloop

from benchmarks.batching import loop_plainly
from benchmarks.hop import AT_ONCE, DEADLINE_S, Cell, asking, load, opened, report
from benchmarks.models import draw_input, make_workload
from benchmarks.targets import REPLICA_AIM, render_figures
from runners.ray.endpoint import HopEndpoint
from runners.ray.members import Address, Member, Membership
from runners.ray.serving import serve_hop
from runners.ray.settings import Dial, Listen

GAINS = "medium"  # by batches, so a loop of them is what it is compared to
MODELS = ("tiny", GAINS)
SOCKET, HANDLES, LOOP = "unix", ("handle", "handle+batching"), "loop"
ROWS, WAIT_S, ONGOING_N = 64, 0.005, 1000  # as peers/rayserve.py has them
WARM_S = 0.3
SECRET = "of sixteen bytes or more"


class Host:
    """The process that has Ray, to be asked one thing after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, **words: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        said = await self._process.stdout.readline()
        if not said:
            raise RuntimeError("the process that has Ray has ended; what it said stands above")
        return json.loads(said)


async def measure(
    seconds: float, rounds_n: int, models: Sequence[str] = MODELS, at_once: Sequence[int] = AT_ONCE
) -> list[list[Cell]]:
    """Every way of every model in every round."""
    with TemporaryDirectory(prefix="hop") as folder:
        Path(folder, "secret").write_text(SECRET)
        async with _hosting(Path(folder), models) as host:
            rounds = []
            for _ in range(rounds_n):
                cells = [cell for model in models for cell in await _round(host, Path(folder), model, at_once, seconds)]
                rounds.append(cells)
            return rounds


def left_of_loop(rounds: list[list[Cell]]) -> list[float]:
    """What callers over the socket got of the loop's rows a second, in each round, the least first."""
    found = []
    for cells in rounds:
        paces = {cell.way: cell.calls_s for cell in cells if (cell.what, cell.at_once) == (GAINS, ROWS)}
        found.append(paces[SOCKET] / paces[LOOP])
    return sorted(found)


async def _round(host: Host, folder: Path, model: str, at_once: Sequence[int], seconds: float) -> list[Cell]:
    x, pid = draw_input(model), int(await host.ask(model=model, what="pid"))
    here = await opened(make_workload(model).models["old"])
    there = HopEndpoint("arm", Dial(folder / "secret"))
    there.update(Membership(1, (Member("arm", "r", Address(unix=str(folder / f"{model}.sock"))),)))
    await there.greeted(DEADLINE_S)
    cells = []
    for number in at_once:
        for way, endpoint in {"here": here, SOCKET: there}.items():
            ask, other = asking(endpoint, x), 0 if way == "here" else pid
            await load(ask, number, WARM_S)
            cells.append(Cell(model, way, number, *await load(ask, number, seconds, other)))
        for way in HANDLES:
            figures = await host.ask(model=model, what=way, at_once=number, seconds=seconds)
            cells.append(Cell(model, way, number, *figures))
    if model == GAINS:
        calls_s, cpu_us = await host.ask(model=model, what=LOOP, seconds=seconds)
        cells.append(Cell(model, LOOP, ROWS, calls_s, 0.0, 0.0, replica_us=cpu_us))
    await there.close()
    await here.close()
    return cells


@asynccontextmanager
async def _hosting(folder: Path, models: Sequence[str]) -> AsyncIterator[Host]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--host", str(folder), *models, stdin=-1, stdout=-1
    )
    try:
        yield Host(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def be_host(folder: Path, models: Sequence[str]) -> None:
    """Have Ray Serve make a replica of each model, and do what is asked until nobody asks any more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # Ray has its own things to say
    with _local_ray():
        handles = {model: _deploy(folder, model) for model in models}
        for line in sys.stdin:
            answers.write(json.dumps(uvloop.run(_do(handles, json.loads(line)))) + "\n")
            answers.flush()


async def _do(handles: dict[str, Any], asked: dict[str, Any]) -> object:
    handle, what = handles[asked["model"]], asked["what"]
    if what == "pid":
        return await handle.pid.remote()
    if what == LOOP:
        return await handle.loop.remote(asked["seconds"])
    method, x = handle if what == HANDLES[0] else handle.batched, draw_input(asked["model"])
    pid = await handle.pid.remote()

    async def ask() -> object:
        return await method.remote(x)

    await load(ask, asked["at_once"], WARM_S)
    return await load(ask, asked["at_once"], asked["seconds"], pid)


@contextmanager
def _local_ray() -> Iterator[None]:
    from runners.ray.agent import ENVIRONMENT  # noqa: PLC0415 - only the process that has Ray
    from runners.ray.local import LocalRay  # noqa: PLC0415

    local = LocalRay(cpus_n=len(MODELS))
    os.environ.update(ENVIRONMENT | local.environment)
    try:
        local.begin()
        while not local.is_up():
            sleep(0.1)
        import ray  # noqa: PLC0415 - with the environment above
        from ray import serve  # noqa: PLC0415

        ray.init(address=local.address, log_to_driver=False, configure_logging=False)
        serve.start(proxy_location="Disabled")
        yield
        ray.shutdown()
    finally:
        local.stop()


def _deploy(folder: Path, model: str) -> Any:
    from ray import serve  # noqa: PLC0415

    class Asked:
        """One process that answers over a hop and by a handle, and can be told to run the model for nobody."""

        def __init__(self, file: str) -> None:
            self._file = Path(file)
            where = Listen("r", folder / "secret", unix=str(folder / f"{model}.sock"))
            self._hop = serve_hop(lambda: opened(self._file), where)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

        async def __call__(self, x: Any) -> Any:
            return self._session.run(["probs"], {"x": x})[0]

        @serve.batch(max_batch_size=ROWS, batch_wait_timeout_s=WAIT_S, max_concurrent_batches=1)
        async def batched(self, rows: list[Any]) -> list[Any]:
            import numpy as np  # noqa: PLC0415 - what is pickled by value brings its imports along

            (probs,) = self._session.run(["probs"], {"x": np.concatenate(rows)})
            return [row[None] for row in probs]

        def pid(self) -> int:
            return os.getpid()

        def loop(self, seconds: float) -> tuple[float, float]:
            pace = loop_plainly(self._file, ROWS, seconds)
            return pace.per_second, pace.cpu_us

    made = serve.deployment(Asked, max_ongoing_requests=ONGOING_N, ray_actor_options={"num_cpus": 1})
    return serve.run(made.bind(str(make_workload(model).models["old"].resolve())), name=model, route_prefix=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="per figure [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured [%(default)s]")
    options = parser.parse_args()
    rounds = uvloop.run(measure(options.seconds, options.rounds))
    report(rounds)
    print("\n" + render_figures([(REPLICA_AIM, left_of_loop(rounds))]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--host"]:
        be_host(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
