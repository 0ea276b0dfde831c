"""What a shadow of every request does to the answers, at half of what the gateway can do: a ratio of p99s.

    .venv/bin/python benchmarks/shadow.py [--names none,shadow,hangs] [--rounds N] [--seconds N] [--share 0.5]

Gateways in turn, alike but for the shadow, each pinned to the two first cores, on the second of which the load
generator runs as well. The load is open (paced.py): requests leave when they are due, and a stall of the gateway is
felt by everybody who comes meanwhile. The rate is `share` of what the gateway without a shadow answers over HTTP when
it is asked as fast as it can.

Each round measures all, beginning with another one each time; ratios are taken within a round, then the median.
`shadow` is a sound one; the others go wrong (faults.py): they raise, answer 50 MiB, spin or hang.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.answers import await_answers
from benchmarks.faults import FAULTS, HANGS, faulty_document
from benchmarks.load import Load, LoadFailed, Measured, send
from benchmarks.machine import busy_warning, end_in_order, pick_cpus
from benchmarks.models import CACHE, make_workload
from benchmarks.readings import Reading, read_server
from benchmarks.servers import Running, Station, serve, serve_hanging
from benchmarks.sink import TraceSink
from benchmarks.targets import SHADOW_AIM, render_figures

NONE, SHADOW = "none", "shadow"
NAMES = (NONE, SHADOW, *FAULTS)
PACED = Path(__file__).with_name("paced.py")
WARM_S = 2
LEAST_SENT = 0.98  # of the rate: a generator that cannot keep it measures itself
ROUNDS_N, SECONDS, SHARE = 7, 8, 0.5


@dataclass(frozen=True)
class Result:
    """One gateway in one round."""

    measured: Measured
    seen: Reading


Round = Mapping[str, Result]  # by the name of the gateway


@dataclass(frozen=True)
class Course:
    """What is measured, how often, for how long each, and at what share of what the gateway can do without a shadow."""

    names: tuple[str, ...] = (NONE, SHADOW)
    rounds_n: int = ROUNDS_N
    seconds: int = SECONDS
    share: float = SHARE


def main() -> None:
    course = read_options()
    end_in_order()
    if warning := busy_warning():
        print(warning)
    rounds, rate = compare(course, lambda text: print(text, flush=True))
    print(render(rounds, rate, course.share))


def compare(course: Course, tell: Callable[[str], None]) -> tuple[list[Round], int]:
    """All rounds, and how many calls a second there were. Raises LoadFailed, WrongAnswer or ServerFailed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch, TraceSink() as sink:
        server, load = pick_cpus()
        station = Station(make_workload("tiny"), Path(scratch), f"{server},{load}", sink.endpoint)
        rate = round(capacity(station, load) * course.share)
        rounds = []
        for found in measure_rounds(course, station, rate, load):
            rounds.append(found)
            told = ", ".join(f"{name} {found[name].measured.p99_ms:.2f}" for name in course.names)
            tell(f"  round {len(rounds)}, p99 in ms: {told}")
    return rounds, rate


def read_options() -> Course:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default=f"{NONE},{SHADOW}", help=f"which ones, of {','.join(NAMES)} [%(default)s]")
    parser.add_argument("--rounds", type=int, default=ROUNDS_N)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--share", type=float, default=SHARE, help="of what the gateway can do without a shadow")
    given = parser.parse_args()
    names = tuple(dict.fromkeys([NONE, *given.names.split(",")]))  # without, there is nothing to compare with
    if unknown := set(names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return Course(names, given.rounds, given.seconds, given.share)


def measure_rounds(course: Course, station: Station, rate: int, cpu: int) -> Iterator[Round]:
    """Every gateway in every round, which begins with another one each time."""
    for number in range(course.rounds_n):
        turn = number % len(course.names)
        order = (*course.names[turn:], *course.names[:turn])
        yield {name: measure(name, station, rate, course.seconds, cpu) for name in order}


def capacity(station: Station, cpu: int) -> float:
    """Calls a second that the gateway answers when it is asked as fast as it can."""
    with started("none", station) as running:
        port = running.ports["http"]
        send(Load("json", station.workload, port, 64, WARM_S, cpu))
        return send(Load("json", station.workload, port, 64, 2 * WARM_S, cpu)).per_second


def measure(name: str, station: Station, rate: int, seconds: int, cpu: int) -> Result:
    """One gateway at a fixed rate. Raises LoadFailed when calls failed, or the rate was not kept."""
    with started(name, station) as running:
        port = running.ports["http"]
        paced(station, port, rate, WARM_S, cpu)
        before = read_server(running, "json")
        measured = paced(station, port, rate, seconds, cpu)
        seen = read_server(running, "json").since(before)
    if measured.failed_n or measured.per_second < LEAST_SENT * rate:
        raise LoadFailed(f"{name}: {measured.failed_n} calls failed, {measured.per_second:.0f} of {rate} a second sent")
    return Result(measured, seen)


@contextmanager
def started(name: str, station: Station) -> Iterator[Running]:
    """A gateway that answers; one with a faulty shadow beside the server which that shadow needs."""
    with ExitStack() as stack:
        document = None
        if name in FAULTS:
            port = stack.enter_context(serve_hanging(station)) if name == HANGS else 0
            document = faulty_document(name, station.workload, station.scratch, port)
        running = stack.enter_context(serve(name, station, document))
        await_answers(running, "json", station.workload)
        yield running


def paced(station: Station, port: int, rate: int, seconds: int, cpu: int) -> Measured:
    """Requests at a fixed rate, whatever becomes of those before."""
    workload = station.workload
    command = ["taskset", "-c", str(cpu), sys.executable, str(PACED), str(port), workload.name]
    command += [str(workload.bodies["json"]), str(rate), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadFailed(f"paced.py ended with status {done.returncode}: {done.stderr}")
    said = json.loads(done.stdout)
    return Measured(
        said["requests_n"], said["requests_n"] / seconds, said["p50_ms"], said["p99_ms"], said["failed_n"], 0
    )


def ratios(rounds: Sequence[Round], name: str, what: str = "p99_ms") -> list[float]:
    """A gateway's figure over that without a shadow, within each round, in order."""
    return sorted(getattr(each[name].measured, what) / getattr(each[NONE].measured, what) for each in rounds)


def render(rounds: Sequence[Round], rate: int, share: float) -> str:
    """A table, and the aim below it."""
    lines = [
        "",
        f"{rate} calls a second, {share:.0%} of what the gateway can do without a shadow, in {len(rounds)} rounds:",
        "",
        "| shadow | p50 ms | p99 ms | p50 of none | p99 of none (least..most) | shadows made |",
        "|:--|--:|--:|--:|--:|--:|",
        *[_line(rounds, name) for name in rounds[0]],
    ]
    if SHADOW in rounds[0]:
        lines += ["", render_figures([(SHADOW_AIM, ratios(rounds, SHADOW))])]
    return "\n".join(lines)


def _line(rounds: Sequence[Round], name: str) -> str:
    p50, p99 = (median(getattr(each[name].measured, what) for each in rounds) for what in ("p50_ms", "p99_ms"))
    tails = ratios(rounds, name)
    made_n = sum(each[name].seen.shadows_made_n for each in rounds)
    due_n = made_n + sum(each[name].seen.shadows_dropped_n for each in rounds)
    made = f"{made_n / due_n:.1%} of {due_n:.0f}" if due_n else ""
    against = f"{median(ratios(rounds, name, 'p50_ms')):.2f} | {median(tails):.2f} ({tails[0]:.2f}..{tails[-1]:.2f})"
    return f"| {name} | {p50:.2f} | {p99:.2f} | {against} | {made} |"


if __name__ == "__main__":
    main()
