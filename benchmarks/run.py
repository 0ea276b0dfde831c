"""Measure the gateway beside the floor and other servers: `make bench`, or `.venv/bin/python benchmarks/run.py --help`.

README.md here says what is measured and how to read it. The exit status is 1 if a server answered wrongly, 2 if it
could not be measured at all.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks import handle
from benchmarks.answers import WrongAnswer
from benchmarks.load import CASES, LoadFailed, missing_packages
from benchmarks.machine import (
    busy_warning,
    describe_machine,
    end_in_order,
    list_versions,
    pick_cpus,
    turnout_version,
)
from benchmarks.models import CACHE, SHAPES, make_workload
from benchmarks.peer_servers import PEERS, missing_environment, version_of
from benchmarks.plot import draw
from benchmarks.record import NothingToResume, Plan, Record, begin, resume
from benchmarks.report import Row, insert_section, make_rows, render, render_footprint
from benchmarks.rounds import NO_TURNS, Audience, Matrix, Run, Turn, measure, turn_seconds
from benchmarks.servers import GATEWAYS, LOOP, SERVERS, ServerFailed, Station
from benchmarks.shadow import SHADOW, Course, bounds_and_median, compare, p99, ratios
from benchmarks.sink import TraceSink
from benchmarks.targets import AT_ONCE, SMALLEST, render_targets

RESULTS = Path(__file__).with_name("RESULTS.md")


class Effort(NamedTuple):
    """How long a run takes; wrk counts in whole seconds."""

    at_once: str
    rounds_n: int
    seconds: int


EFFORTS = {"quick": Effort("1,64", 1, 2), "default": Effort("1,64", 2, 3), "full": Effort("1,16,64", 3, 5)}
WARM_S = 1
REPLICA_ROUNDS_N, REPLICA_S = 5, 2.0
UNTRUE, UNMEASURED, STOPPED = 1, 2, 130  # exit statuses


def main() -> int:
    options = read_options()
    try:
        record = resume(CACHE) if options.resume else begin(CACHE, make_plan(options))
    except NothingToResume as error:
        tell(f"{error}; start anew, without --resume")
        return UNMEASURED
    plan = record.plan
    if missing := missing_packages(plan.matrix.cases):
        tell(f"the load generators are not installed; cure: apt-get install {' '.join(missing)}")
        return UNMEASURED
    absent = "" if options.resume else absent_peers(options)
    for warning in filter(None, [busy_warning(), one_core_warning(), absent, other_code(plan)]):
        record.warn(warning)
    for warning in record.warnings:
        tell(f"warning: {warning}")
    tell(f"about {minutes(plan.matrix, record.turns()):.0f} minutes; what was measured is kept in {record.path}")
    end_in_order()
    failure, status = measure_into(record)
    shadow_ratios = compare_shadows() if options.shadow and not failure else []
    replica_ratios = compare_replica() if options.replica and not failure else []
    if record.runs:
        section = make_section(record, shadow_ratios, replica_ratios)
        print(section)
        if options.write and not failure:
            RESULTS.write_text(insert_section(RESULTS.read_text(), section))
            tell(f"written to {RESULTS}")
            draw_pictures(plan.model, make_rows(record.runs))
    if failure:
        tell(failure)
    return status


def measure_into(record: Record) -> tuple[str, int]:
    """Measure what is not there yet. What ended it before its end, "" if nothing did, and the exit status."""

    def give_up(server: str, why: str) -> None:
        record.warn(f"{server} was not measured to the end: {why.splitlines()[0]}")
        tell(f"  given up: {why}")

    matrix, found_n, cores = record.plan.matrix, len(record.runs), os.sched_getaffinity(0)
    try:
        with working_folder() as scratch, TraceSink() as sink:
            station = Station(make_workload(record.plan.model), scratch, pick_cpus()[0], sink.endpoint)
            os.sched_setaffinity(0, {matrix.load_cpu})  # while servers work, this process must not be in their way
            for run in measure(matrix, station, Audience(tell, give_up), record.turns()):
                record.keep(run)
                tell(f"  {run.case}, {run.at_once} at once: {run.measured.per_second:.0f} requests/s")
            check_tracing(record.runs[found_n:], sink.received_bytes)
    except WrongAnswer as error:
        return f"wrong: {error}", UNTRUE
    except (LoadFailed, ServerFailed) as error:
        return f"not measured: {error}", UNMEASURED
    except (KeyboardInterrupt, SystemExit):
        return "stopped; go on with: make bench ARGS=--resume", STOPPED
    finally:
        os.sched_setaffinity(0, cores)
    return "", 0


def compare_shadows() -> Sequence[float]:
    """What a shadow of every request does to p99 at half load: the median ratio between its bounds, or nothing."""
    tell("what a shadow does to p99, at half load")
    try:
        found = compare(Course(), tell)
    except (WrongAnswer, LoadFailed, ServerFailed) as error:
        tell(f"  not measured: {error}")
        return []
    return bounds_and_median(ratios(found.rounds, SHADOW, p99))


def compare_replica() -> list[float]:
    """What callers get of a plain loop in a replica on Ray, in each round; none if that could not be measured."""
    tell("what is left of a plain loop in a replica on Ray")
    try:
        rounds = uvloop.run(handle.measure(REPLICA_S, REPLICA_ROUNDS_N, (handle.GAINS,), (handle.ROWS,)))
    except (OSError, RuntimeError) as error:
        tell(f"  not measured: {error}")
        return []
    return handle.left_of_loop(rounds)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description="Measure the gateway beside others.")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="a few minutes that prove the scripts, not the figures")
    effort.add_argument("--full", action="store_true", help="more rounds, longer, and at 16 at once as well")
    effort.add_argument("--resume", action="store_true", help="go on with the newest run, which was stopped half-way")
    parser.add_argument("--shadow", action="store_true", help="measure what a shadow does to p99, too: 4 minutes more")
    parser.add_argument(
        "--replica", action="store_true", help="ask a replica on Ray, beside a loop there: 1 minute more"
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {RESULTS.name}, newest first")
    parser.add_argument("--servers", help=f"which ones, by comma [{','.join(SERVERS)}]")
    parser.add_argument("--cases", help=f"which ones, by comma [{','.join(CASES)}]")
    parser.add_argument("--at-once", help="requests under way, by comma [1,64; full: 1,16,64]")
    parser.add_argument(
        "--rounds", type=int, help="how often each server is started and measured [2; quick: 1; full: 3]"
    )
    parser.add_argument("--seconds", type=int, help="of load per cell [3; quick: 2; full: 5]")
    parser.add_argument("--model", choices=SHAPES, help=f"what the arms are [{SMALLEST}]")
    options = parser.parse_args()
    chosen = [getattr(options, name) for name in ("servers", "cases", "at_once", "rounds", "seconds", "model")]
    if options.resume and any(each is not None for each in chosen):
        parser.error(
            "--resume goes on with what the run was started with, and takes nothing but --write, --shadow and --replica"
        )
    if options.quick and options.write:
        parser.error("a quick pass is not worth writing down")
    return options


def make_plan(options: argparse.Namespace) -> Plan:
    """What the options ask for. Leaves with one line when they ask for what there is not."""
    effort = "quick" if options.quick else "full" if options.full else "default"
    return Plan(options.model or SMALLEST, effort, turnout_version(), make_matrix(options, EFFORTS[effort]))


def make_matrix(options: argparse.Namespace, effort: Effort) -> Matrix:
    """The cells that the options ask for. Leaves with one line when they ask for what there is not."""
    servers = _listed("server", options.servers or default_servers(options.model), SERVERS)
    servers = tuple(name for name in servers if name not in PEERS or not missing_environment(name))
    if not servers:
        raise SystemExit(f"{absent_peers(options)}")
    cases = _listed("case", options.cases, tuple(CASES))
    at_once = (options.at_once or effort.at_once).split(",")
    if not all(number.isdecimal() and 0 < int(number) <= 1024 for number in at_once):
        raise SystemExit("--at-once wants numbers from 1 to 1024, as in 1,16,64")
    rounds_n, seconds = options.rounds or effort.rounds_n, options.seconds or effort.seconds
    if not (0 < rounds_n <= 20 and 1 <= seconds <= 60):
        raise SystemExit("--rounds may be 1 to 20 and --seconds 1 to 60: a run has an end")
    return Matrix(servers, cases, tuple(map(int, at_once)), rounds_n, seconds, WARM_S, pick_cpus()[1])


def default_servers(model: str | None) -> str:
    """All, but for the smallest model not the loop: what is around it is what is measured there."""
    is_smallest = model in (None, SMALLEST)
    return ",".join(name for name in SERVERS if not (is_smallest and name == LOOP))


def minutes(matrix: Matrix, done: frozenset[Turn] = NO_TURNS) -> float:
    """How long it will take to measure what is not done."""
    return (
        sum(
            turn_seconds(name, matrix)
            for n in range(matrix.rounds_n)
            for name in matrix.servers
            if (n, name) not in done
        )
        / 60
    )


def make_section(record: Record, shadow_ratios: Sequence[float], replica_ratios: Sequence[float] = ()) -> str:
    """The part of RESULTS.md that tells of this run."""
    plan, runs = record.plan, record.runs
    rounds_n = len({run.round_no for run in runs})
    heading = f"## {datetime.now(UTC):%Y-%m-%d}, {plan.model}" + (
        "" if plan.effort == "default" else f", {plan.effort}"
    )
    how = f"{rounds_n} round{'s' if rounds_n > 1 else ''}; medians, least and most. {render_footprint(runs)}"
    versions = [list_versions(), *sorted({version_of(run.server) for run in runs if run.server in PEERS})]
    facts = [
        f"{describe_machine()}.",
        f"{', '.join(versions)}.",
        how,
        *[f"**Warning:** {each}." for each in record.warnings],
    ]
    return "\n\n".join(
        [
            heading,
            *facts,
            *filter(None, [render_targets(runs, plan.model, shadow_ratios, replica_ratios)]),
            render(make_rows(runs)),
        ]
    )


def absent_peers(options: argparse.Namespace) -> str:
    """Which servers are not measured, and why."""
    asked = [name for name in (options.servers or ",".join(PEERS)).split(",") if name in PEERS]
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
    if any(run.server in GATEWAYS for run in runs) and not received_bytes:
        raise LoadFailed("no span reached the trace sink, so the gateway did not run as it does by default")


def other_code(plan: Plan) -> str:
    """A warning when a run goes on with other code than it began with."""
    now = turnout_version()
    return f"begun with {plan.turnout}, gone on with {now}" if now != plan.turnout else ""


def one_core_warning() -> str:
    server, load = pick_cpus()
    return "server and load generator share one core" if server == load else ""


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for configurations, events and logs, gone afterwards; it is on the disk where events usually are."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as folder:
        yield Path(folder)


def tell(text: str) -> None:
    """Progress goes where it does not mix with tables."""
    print(text, file=sys.stderr, flush=True)


def _listed(what: str, written: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    names = written.split(",") if written else known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no {what} is called {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(dict.fromkeys(names))


if __name__ == "__main__":
    sys.exit(main())
