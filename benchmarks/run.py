"""Measure the gateway beside the floor and other servers: `make bench`, or `.venv/bin/python benchmarks/run.py --help`.

README.md here says what is measured and how to read it. The exit status is 1 if a server answered wrongly, 2 if it
could not be measured at all.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.answers import WrongAnswer
from benchmarks.load import CASES, LoadFailed, missing_packages
from benchmarks.machine import busy_warning, describe_machine, end_in_order, list_versions, pick_cpus
from benchmarks.models import CACHE, SHAPES, make_workload
from benchmarks.peer_servers import PEERS, missing_environment, version_of
from benchmarks.plot import draw
from benchmarks.report import Row, insert_section, make_rows, render, render_footprint
from benchmarks.rounds import Matrix, Run, measure
from benchmarks.servers import SERVERS, STRATEGIES, ServerFailed, Station
from benchmarks.sink import TraceSink
from benchmarks.targets import AT_ONCE, render_targets

RESULTS = Path(__file__).with_name("RESULTS.md")


class Effort(NamedTuple):
    """How long a run takes; wrk counts in whole seconds."""

    at_once: str
    rounds_n: int
    seconds: int


FULL, QUICK = Effort("1,16,64", 3, 5), Effort("1,64", 1, 2)
WARM_S = 1
UNTRUE, UNMEASURED = 1, 2  # exit statuses


def main() -> int:
    options = read_options()
    matrix = make_matrix(options)
    missing = missing_packages(matrix.cases)
    if missing:
        sys.stderr.write(f"the load generators are not installed; cure: apt-get install {' '.join(missing)}\n")
        return UNMEASURED
    absent = absent_peers(options)
    warnings = [warning for warning in (busy_warning(), one_core_warning(), absent) if warning]
    for warning in warnings:
        tell(f"warning: {warning}")
    end_in_order()
    runs: list[Run] = []

    def give_up(server: str, why: str) -> None:
        warnings.append(f"{server} was not measured to the end: {why.splitlines()[0]}")
        tell(f"  given up: {why}")

    failure, status = "", 0
    try:
        with working_folder() as scratch, TraceSink() as sink, record_file() as keep:
            workload = make_workload(options.model)
            station = Station(workload, scratch, pick_cpus()[0], sink.endpoint)
            os.sched_setaffinity(0, {matrix.load_cpu})  # while servers work, this process must not be in their way
            for run in measure(matrix, station, tell, give_up):
                runs.append(run)
                keep(run)
                tell(f"  {run.case}, {run.at_once} at once: {run.measured.per_second:.0f} requests/s")
            check_tracing(runs, sink.received_bytes)
    except WrongAnswer as error:
        failure, status = f"wrong: {error}", UNTRUE
    except (LoadFailed, ServerFailed) as error:
        failure, status = f"not measured: {error}", UNMEASURED
    if runs:
        section = make_section(options, runs, warnings)
        print(section)
        if options.write and not failure:
            RESULTS.write_text(insert_section(RESULTS.read_text(), section))
            tell(f"written to {RESULTS}")
            draw_pictures(options.model, make_rows(runs))
    if failure:
        tell(failure)
    return status


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description="Measure the gateway beside others.")
    parser.add_argument("--quick", action="store_true", help="a minute or two that prove the scripts, not the figures")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {RESULTS.name}, newest first")
    parser.add_argument("--servers", default=",".join(SERVERS), help="which ones, by comma [%(default)s]")
    parser.add_argument("--cases", default=",".join(CASES), help="which ones, by comma [%(default)s]")
    parser.add_argument("--at-once", help="requests under way, by comma [1,16,64; quick: 1,64]")
    parser.add_argument("--rounds", type=int, help="how often each server is started and measured [3; quick: 1]")
    parser.add_argument("--seconds", type=int, help="of load per cell [5; quick: 2]")
    parser.add_argument("--model", choices=SHAPES, default="tiny", help="what the arms are [%(default)s]")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("a quick pass is not worth writing down")
    return options


def make_matrix(options: argparse.Namespace) -> Matrix:
    """The cells that the options ask for. Leaves with one line when they ask for what there is not."""
    chosen = QUICK if options.quick else FULL
    servers = _listed("server", options.servers, SERVERS)
    servers = tuple(name for name in servers if name not in PEERS or not missing_environment(name))
    cases = _listed("case", options.cases, tuple(CASES))
    at_once = (options.at_once or chosen.at_once).split(",")
    if not all(number.isdecimal() and 0 < int(number) <= 1024 for number in at_once):
        raise SystemExit("--at-once wants numbers from 1 to 1024, as in 1,16,64")
    rounds_n, seconds = options.rounds or chosen.rounds_n, options.seconds or chosen.seconds
    if not (0 < rounds_n <= 20 and 1 <= seconds <= 60):
        raise SystemExit("--rounds may be 1 to 20 and --seconds 1 to 60: a run has an end")
    return Matrix(servers, cases, tuple(map(int, at_once)), rounds_n, seconds, WARM_S, pick_cpus()[1])


def make_section(options: argparse.Namespace, runs: list[Run], warnings: list[str]) -> str:
    """The part of RESULTS.md that tells of this run."""
    rounds_n = len({run.round_no for run in runs})
    heading = f"## {datetime.now(UTC):%Y-%m-%d}, {options.model}" + (", quick" if options.quick else "")
    how = f"{rounds_n} round{'s' if rounds_n > 1 else ''}; medians, least and most. {render_footprint(runs)}"
    versions = [list_versions(), *sorted({version_of(run.server) for run in runs if run.server in PEERS})]
    facts = [f"{describe_machine()}.", f"{', '.join(versions)}.", how, *[f"**Warning:** {each}." for each in warnings]]
    return "\n\n".join([heading, *facts, *filter(None, [aims(options, runs)]), render(make_rows(runs))])


def aims(options: argparse.Namespace, runs: list[Run]) -> str:
    """What was aimed at, and reached or not; the aims are those of the smallest model."""
    return render_targets(runs) if options.model == next(iter(SHAPES)) else ""


def absent_peers(options: argparse.Namespace) -> str:
    """Which servers are not measured, and why."""
    asked = [name for name in options.servers.split(",") if name in PEERS]
    reasons = {reason for name in asked if (reason := missing_environment(name))}
    return f"not measured: {'; '.join(sorted(reasons))}" if reasons else ""


def draw_pictures(model: str, rows: list[Row]) -> None:
    """A picture of each case at the most that are under way at once, beside the results."""
    for case in ("json", "grpc"):
        cell = [row for row in rows if row.case == case and row.at_once == AT_ONCE]
        if cell:
            picture = RESULTS.with_name(f"{model}-{case}.svg")
            picture.write_text(draw(f"{CASES[case]}, model {model}, {AT_ONCE} at once, one core", cell))
            tell(f"drawn: {picture}")


def check_tracing(runs: list[Run], received_bytes: int) -> None:
    """Raises LoadFailed when a gateway ran without exporting spans, which would flatter it."""
    if any(run.server in STRATEGIES for run in runs) and not received_bytes:
        raise LoadFailed("no span reached the trace sink, so the gateway did not run as it does by default")


def one_core_warning() -> str:
    server, load = pick_cpus()
    return "server and load generator share one core" if server == load else ""


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for configurations, events and logs, gone afterwards; it is on the disk where events usually are."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as folder:
        yield Path(folder)


@contextmanager
def record_file() -> Iterator[Callable[[Run], None]]:
    """Keeps every single run as a line of JSON, for whoever wants more than medians."""
    path = CACHE / f"runs-{datetime.now(UTC):%Y%m%dT%H%M%S}.jsonl"
    with path.open("w") as lines:
        yield lambda run: print(json.dumps(run.as_record()), file=lines, flush=True)


def tell(text: str) -> None:
    """Progress goes where it does not mix with tables."""
    print(text, file=sys.stderr, flush=True)


def _listed(what: str, written: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = written.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no {what} is called {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(dict.fromkeys(names))


if __name__ == "__main__":
    sys.exit(main())
