"""What sharing runs gives, and how much of a plain loop of batches is left when callers come one row at a time.

    .venv/bin/python benchmarks/batching.py [--model medium] [--callers 64] [--rounds 3] [--seconds 2]

The plain loop is `session.run` in a `for`, with batches that stand ready: no server that answers callers one by one can
be faster. Beside it, callers who each ask for one row and ask again once they have it, of an endpoint that shares runs
and of one that does not. All in this process, without sockets; `run.py --model medium` has those.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter, process_time

import numpy as np
import uvloop

from benchmarks.machine import busy_warning, describe_machine
from benchmarks.models import SHAPES, make_workload
from runners.core.runner import Batching, ModelRef, ProviderChoice
from runners.core.tensor import InferenceRequest, Tensor
from runners.embedded import Embedded
from runners.onnx.session import load_model, session_options

SIZES = (1, 8, 32, 64)
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Pace:
    """Rows a second, processor time of the process per row in microseconds, and rows of the mean run."""

    per_second: float
    cpu_us: float
    run_rows: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what sharing runs gives.")
    parser.add_argument("--model", choices=SHAPES, default="medium", help="which one [%(default)s]")
    parser.add_argument("--callers", type=int, default=64, help="who ask at once [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured [%(default)s]")
    parser.add_argument("--seconds", type=float, default=2.0, help="per figure [%(default)s]")
    options = parser.parse_args()
    warning = busy_warning()
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    print(describe_machine())
    path = make_workload(options.model).models["old"].resolve()
    ways: dict[str, Callable[[], Pace]] = {
        f"plain loop, {size} row{'s' if size > 1 else ''}": lambda size=size: loop_plainly(path, size, options.seconds)
        for size in SIZES
    }
    for name, batching in (("shared", Batching()), ("by itself", Batching(max_rows=1))):
        ways[f"{options.callers} callers, every run {name}"] = lambda batching=batching: uvloop.run(
            serve_callers(path, batching, options.callers, options.seconds)
        )
    rounds = [{name: way() for name, way in ways.items()} for _ in range(options.rounds)]
    print(render(rounds))


def loop_plainly(path: Path, size: int, seconds: float) -> Pace:
    """`session.run` of batches of `size` rows, one after another."""
    session = load_model(path, ProviderChoice(), threads=1, options=session_options()).session
    batch = ask(session.signature.inputs[0].shape[1:], size)
    session.run(batch)
    runs_n, began, spent = 0, perf_counter(), process_time()
    while perf_counter() - began < seconds:
        session.run(batch)
        runs_n += 1
    return _pace(runs_n * size, perf_counter() - began, process_time() - spent, size)


async def serve_callers(path: Path, batching: Batching, callers_n: int, seconds: float) -> Pace:
    """Callers who each have one row under way, answered by an endpoint as the gateway opens it."""
    endpoint = await Embedded().open(ModelRef(f"file:{path}", path.parent, batching=batching))
    one = ask(endpoint.description.signature.inputs[0].shape[1:], 1)
    ends_at = monotonic() + seconds
    answered_n = runs_of_rows = 0

    async def call() -> None:
        nonlocal answered_n, runs_of_rows
        while monotonic() < ends_at:
            answer = await endpoint.infer(one, deadline_at=monotonic() + DEADLINE_S)
            answered_n += 1
            runs_of_rows += answer.batch_rows

    began, spent = perf_counter(), process_time()
    await asyncio.gather(*(call() for _ in range(callers_n)))
    pace = _pace(answered_n, perf_counter() - began, process_time() - spent, runs_of_rows / answered_n)
    await endpoint.close()
    return pace


def ask(shape: tuple[int, ...], rows_n: int) -> InferenceRequest:
    array = np.random.default_rng(rows_n).standard_normal((rows_n, *shape)).astype("<f4")
    return InferenceRequest("", (Tensor("x", "FP32", array),))


def render(rounds: list[dict[str, Pace]]) -> str:
    """A table of medians; ratios are taken within each round, to the plain loop with the largest batches."""
    best = f"plain loop, {SIZES[-1]} rows"
    lines = ["| | rows/s | of the last plain loop | CPU µs a row | rows a run |", "|:--|--:|--:|--:|--:|"]
    for name in rounds[0]:
        paces = [found[name] for found in rounds]
        ratio = median(found[name].per_second / found[best].per_second for found in rounds)
        per_second, cpu_us = median(p.per_second for p in paces), median(p.cpu_us for p in paces)
        lines.append(f"| {name} | {per_second:.0f} | {ratio:.2f} | {cpu_us:.0f} | {paces[0].run_rows:.0f} |")
    return "\n".join(lines)


def _pace(rows_n: int, seconds: float, cpu_s: float, run_rows: float) -> Pace:
    return Pace(rows_n / seconds, cpu_s / rows_n * 1e6, run_rows)


if __name__ == "__main__":
    main()
