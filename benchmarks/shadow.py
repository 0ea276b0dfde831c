"""What a shadow of every request does to the answers, at half of what the gateway can do: a ratio of p99s.

    .venv/bin/python benchmarks/shadow.py [--names none,shadow,hangs] [--rounds N] [--seconds N] [--share 0.5]

Gateways alike but for the shadow, all up at once and each pinned to the two first cores, on the second of which the
load generator runs as well. One after the other is loaded for a second, while the others have nothing to do, and so on
for many rounds: what the machine does meanwhile changes from minute to minute, and hardly within one round. Ratios are
taken within a round; then comes their median, and between which bounds it lies in 95 of 100 draws of as many rounds.

The load is open (paced.py): requests leave when they are due, and a stall of the gateway is felt by everybody who
comes meanwhile. The rate is `share` of what the gateway without a shadow answers over HTTP when it is asked as fast
as it can. A round begins with another gateway each time, and a window once all are quiet: nobody pays for shadows that
are left over from the window before.

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
from random import Random
from statistics import median
from time import monotonic, sleep

from benchmarks.answers import await_answers
from benchmarks.faults import FAULTS, HANGS, faulty_document
from benchmarks.load import Load, LoadFailed, Measured, send
from benchmarks.machine import busy_warning, end_in_order, pick_cpus
from benchmarks.models import CACHE, Workload, make_workload
from benchmarks.readings import Reading, read_cpu_s, read_server
from benchmarks.servers import Running, Station, serve, serve_hanging
from benchmarks.sink import TraceSink
from benchmarks.targets import SHADOW_AIM, render_figures

NONE, SHADOW = "none", "shadow"
NAMES = (NONE, SHADOW, *FAULTS)
PACED = Path(__file__).with_name("paced.py")
WARM_S = 2
LEAST_SENT = 0.98  # of the rate: a generator that cannot keep it measures itself
ROUNDS_N, SECONDS, SHARE = 60, 1.0, 0.5
QUIET = 0.05  # of a core: what idle gateways together may use
LOOK_S, QUIET_WITHIN_S = 0.2, 5.0  # a shadow may wait for twice its budget and run for one, which is a second
SETTLED_WITHIN_S = 30.0
DRAWS_N = 2000


@dataclass(frozen=True)
class Window:
    """One gateway in one round: what its clients saw, and its processor time for each of their requests."""

    measured: Measured
    cpu_us: float


Round = Mapping[str, Window]  # by the name of the gateway


@dataclass(frozen=True)
class Found:
    """All rounds, what each gateway counted meanwhile, and how many calls a second there were."""

    rounds: Sequence[Round]
    seen: Mapping[str, Reading]
    rate: int


@dataclass(frozen=True)
class Course:
    """What is measured, how often, for how long each, and at what share of what the gateway can do without a shadow."""

    names: tuple[str, ...] = (NONE, SHADOW)
    rounds_n: int = ROUNDS_N
    seconds: float = SECONDS
    share: float = SHARE


def main() -> None:
    course = read_options()
    end_in_order()
    if warning := busy_warning():
        print(warning)
    print(render(compare(course, lambda text: print(text, flush=True)), course.share))


def compare(course: Course, tell: Callable[[str], None]) -> Found:
    """Measure all. Raises LoadFailed, WrongAnswer or ServerFailed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch, TraceSink() as sink, ExitStack() as stack:
        server, load = pick_cpus()
        station = Station(make_workload("tiny"), Path(scratch), f"{server},{load}", sink.endpoint)
        rate = round(capacity(station, load) * course.share)
        gateways = {name: stack.enter_context(started(name, station)) for name in course.names}
        pacer = stack.enter_context(Pacer.started(station.workload, load))
        for running in gateways.values():
            pacer.load(running.ports["http"], rate, WARM_S)
        before = {name: read_settled(running) for name, running in gateways.items()}
        rounds = []
        for found in measure_rounds(course, gateways, pacer, rate):
            rounds.append(found)
            told = ", ".join(f"{name} {found[name].measured.p99_ms:.2f}" for name in course.names)
            tell(f"  round {len(rounds)}, p99 in ms: {told}")
        seen = {name: read_settled(running).since(before[name]) for name, running in gateways.items()}
    return Found(rounds, seen, rate)


def read_options() -> Course:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default=f"{NONE},{SHADOW}", help=f"which ones, of {','.join(NAMES)} [%(default)s]")
    parser.add_argument("--rounds", type=int, default=ROUNDS_N)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--share", type=float, default=SHARE, help="of what the gateway can do without a shadow")
    given = parser.parse_args()
    names = tuple(dict.fromkeys([NONE, *given.names.split(",")]))  # without, there is nothing to compare with
    if unknown := set(names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return Course(names, given.rounds, given.seconds, given.share)


def measure_rounds(course: Course, gateways: Mapping[str, Running], pacer: "Pacer", rate: int) -> Iterator[Round]:
    """A window of every gateway in every round, which begins with another one each time."""
    for number in range(course.rounds_n):
        turn = number % len(course.names)
        order = (*course.names[turn:], *course.names[:turn])
        found = {}
        for name in order:
            settle(gateways)
            found[name] = measure(name, gateways[name], pacer, rate, course.seconds)
        yield found


def capacity(station: Station, cpu: int) -> float:
    """Calls a second that the gateway answers when it is asked as fast as it can."""
    with started(NONE, station) as running:
        port = running.ports["http"]
        send(Load("json", station.workload, port, 64, WARM_S, cpu))
        return send(Load("json", station.workload, port, 64, 2 * WARM_S, cpu)).per_second


def measure(name: str, running: Running, pacer: "Pacer", rate: int, seconds: float) -> Window:
    """One gateway at a fixed rate. Raises LoadFailed when calls failed, or the rate was not kept."""
    process = running.processes["http"]
    spent_s = read_cpu_s(process)
    measured = pacer.load(running.ports["http"], rate, seconds)
    spent_s = read_cpu_s(process) - spent_s
    if measured.failed_n or measured.per_second < LEAST_SENT * rate:
        raise LoadFailed(f"{name}: {measured.failed_n} calls failed, {measured.per_second:.0f} of {rate} a second sent")
    return Window(measured, spent_s / measured.requests_n * 1e6)


def settle(gateways: Mapping[str, Running]) -> None:
    """Wait until no gateway does anything, but not for ever: one with a model that spins may."""
    ends_at = monotonic() + QUIET_WITHIN_S
    while monotonic() < ends_at:
        spent_s = sum(read_cpu_s(running.processes["http"]) for running in gateways.values())
        sleep(LOOK_S)
        spent_s = sum(read_cpu_s(running.processes["http"]) for running in gateways.values()) - spent_s
        if spent_s <= QUIET * LOOK_S * len(gateways):
            return


def read_settled(running: Running) -> Reading:
    """What a gateway has counted once all its shadows are over. Raises LoadFailed when some are not for long."""
    ends_at = monotonic() + SETTLED_WITHIN_S
    while (seen := read_server(running, "json")).shadows_pending_n:
        if monotonic() > ends_at:
            raise LoadFailed(f"{running.name}: {seen.shadows_pending_n:.0f} shadow calls are neither made nor dropped")
        sleep(LOOK_S)
    return seen


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


class Pacer:
    """The load generator: requests at a fixed rate, whatever becomes of those before."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    @classmethod
    @contextmanager
    def started(cls, workload: Workload, cpu: int) -> Iterator["Pacer"]:
        command = ["taskset", "-c", str(cpu), sys.executable, str(PACED), workload.name, str(workload.bodies["json"])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            try:
                yield cls(child)
            finally:
                child.kill()

    def load(self, port: int, rate: int, seconds: float) -> Measured:
        """Raises LoadFailed."""
        given, answers = self._child.stdin, self._child.stdout
        assert given is not None
        assert answers is not None
        given.write(f"{port} {rate} {seconds}\n")
        given.flush()
        if not (line := answers.readline()):
            raise LoadFailed(f"paced.py ended with status {self._child.wait()}")
        said = json.loads(line)
        return Measured(
            said["requests_n"], said["requests_n"] / seconds, said["p50_ms"], said["p99_ms"], said["failed_n"], 0
        )


def ratios(rounds: Sequence[Round], name: str, figure: Callable[[Window], float]) -> list[float]:
    """A gateway's figure over that without a shadow, within each round, from the least to the largest."""
    return sorted(figure(each[name]) / figure(each[NONE]) for each in rounds)


def p50(window: Window) -> float:
    return window.measured.p50_ms


def p99(window: Window) -> float:
    return window.measured.p99_ms


def cpu(window: Window) -> float:
    return window.cpu_us


def bounds(figures: Sequence[float]) -> tuple[float, float]:
    """Between which the median lies in 95 of 100 draws of as many figures from these, with replacement."""
    chance = Random(0)  # the same figures always have the same bounds
    medians = sorted(median(chance.choices(figures, k=len(figures))) for _ in range(DRAWS_N))
    return medians[round(0.025 * DRAWS_N)], medians[round(0.975 * DRAWS_N) - 1]


def render(found: Found, share: float) -> str:
    """A table, and the aim below it."""
    rounds = found.rounds
    lines = [
        "",
        f"{found.rate} calls a second, {share:.0%} of what the gateway does without a shadow, in {len(rounds)} rounds.",
        "Ratios are to the gateway without a shadow; in brackets are bounds of the median.",
        "",
        "| shadow | p50 ms | p99 ms | p50 ratio | p99 ratio | CPU µs a request | shadows made | due - made - dropped |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
        *[_line(found, name) for name in rounds[0]],
    ]
    if SHADOW in rounds[0]:
        lines += ["", render_figures([(SHADOW_AIM, list(bounds_and_median(ratios(rounds, SHADOW, p99))))])]
    return "\n".join(lines)


def bounds_and_median(figures: Sequence[float]) -> tuple[float, float, float]:
    least, most = bounds(figures)
    return least, median(figures), most


def _line(found: Found, name: str) -> str:
    windows = [each[name] for each in found.rounds]
    figures = [f"{median(map(figure, windows)):.2f}" for figure in (p50, p99)]
    for figure in (p50, p99):
        least, middle, most = bounds_and_median(ratios(found.rounds, name, figure))
        figures.append(f"{middle:.2f} ({least:.2f}..{most:.2f})")
    seen, due_n = found.seen[name], sum(window.measured.requests_n for window in windows) if name != NONE else 0
    made = f"{seen.shadows_made_n / due_n:.1%} of {due_n}" if due_n else ""
    left = f"{due_n - seen.shadows_made_n - seen.shadows_dropped_n:.0f}" if due_n else ""
    return f"| {name} | {' | '.join(figures)} | {median(map(cpu, windows)):.0f} | {made} | {left} |"


if __name__ == "__main__":
    main()
