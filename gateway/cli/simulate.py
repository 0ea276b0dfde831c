"""`turnout simulate`: what a rollout would have done with observations, by the code that decides live."""

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import msgspec
import typer

from gateway.cli.loading import fail
from gateway.cli.rollout_file import setup_in

if TYPE_CHECKING:
    from gateway.simulation.run import Run
    from gateway.simulation.setup import Setup


def simulate(
    route: Annotated[Path, typer.Argument(metavar="ROUTE.yaml", help="The document of a route with a canary.")],
    observations: Annotated[
        Path, typer.Option(help="A file with an observation or a closed epoch a line; - is standard input.")
    ],
) -> None:
    """Walk a canary over observations on a virtual clock; prints each changed verdict, move and end as JSON."""
    setup = setup_in(route)
    out = sys.stdout.buffer
    try:
        with nullcontext(sys.stdin.buffer) if str(observations) == "-" else observations.open("rb") as lines:
            _walk(setup, lines, str(observations), out)
    except OSError as error:
        fail(f"{observations}: cannot be read: {error.strerror}")
    out.flush()


def _walk(setup: "Setup", lines: Iterable[bytes], name: str, out: IO[bytes]) -> None:
    from gateway.simulation.observations import BadLine, Observation, read_lines
    from gateway.simulation.run import OutOfOrder, Run

    runs: dict[str | int, Run] = {}
    try:
        for number, seen in read_lines(lines, name):
            key = seen.run if isinstance(seen, Observation) else seen.experiment
            run = runs.get(key)
            if run is None:
                run = runs[key] = Run(key, setup)
            try:
                if isinstance(seen, Observation):
                    run.observe(seen)
                else:
                    run.fold(seen.epoch)
            except OutOfOrder as error:
                fail(f"{name}:{number}: run {key}: {error}")
            if run.lines:
                _write(out, run)
    except BadLine as error:
        fail(str(error))
    for run in runs.values():
        run.end()
        _write(out, run)


def _write(out: IO[bytes], run: "Run") -> None:
    for line in run.take():
        out.write(msgspec.json.encode(line) + b"\n")
