"""What configuration changes do to the answers, at half of what the gateway can do: a ratio of p99s.

    .venv/bin/python benchmarks/changes.py [--pairs N] [--seconds N] [--per-second 8.33] [--share 0.5] [--workers N]

One gateway with three routes is asked over HTTP and over gRPC at even rates, each half of `share` of what it can answer
over that protocol alone. Time is cut into windows: in one of each pair an operator changes the configuration so many
times a second, in the other nobody does, and every other pair has them the other way round. The ratio of p99 is taken
within each pair, then the median: what slows the machine down for longer than a pair cancels out.

Changes are drawn at random: of two to four arms with models of up to 1 MiB, A/B tests with other shares, canaries, no
strategy, shadows. A fifth is refused: an unknown arm, a share above 100 %, a fallback that goes round, a damaged model.

The load generators share the gateway's two cores. A thousand changes are 30 pairs of 4 s, which take four minutes.
"""

import argparse
import subprocess
import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import sched_getaffinity, sched_setaffinity
from pathlib import Path
from statistics import median
from time import sleep, time

from benchmarks.drawn import ROUTES, Operator, write_config
from benchmarks.load import GRPC_PATH, Load, LoadFailed, send
from benchmarks.machine import busy_warning, end_in_order
from benchmarks.models import CACHE, Workload, draw_input, grpc_body, make_workload
from benchmarks.readings import family_of, read_own_cpu_s, read_server
from benchmarks.servers import Running
from benchmarks.start import Gateway, running
from benchmarks.targets import CHANGES_AIM, render_figures

WARM_S = 2
AT_ONCE = 64
CHANNELS_N = 8
LEAST_SENT = 0.97  # of the rate: a generator that cannot keep it measures itself


@dataclass(frozen=True)
class Course:
    """How many pairs of windows, how long each, how many changes a second, at what share of what can be answered."""

    pairs_n: int = 30
    seconds: float = 4.0
    per_second: float = 1000 / 120
    share: float = 0.5
    workers_n: int = 2


@dataclass(frozen=True)
class Window:
    """A stretch of Unix time with `changes_n` changes, and the processor time it took by process, control's first."""

    has_changes: bool
    began_at: float
    ended_at: float
    changes_n: int
    cpu_s: tuple[float, ...]


@dataclass(frozen=True)
class Answers:
    """All requests in the order in which they were sent: Unix times of sending, and how long the answer took."""

    sent_at: Sequence[float]
    took_ms: Sequence[float]

    def percentile(self, rank: int, window: Window) -> float:
        """In ms, of what was sent in a window."""
        first, last = (bisect_left(self.sent_at, at) for at in (window.began_at, window.ended_at))
        times = sorted(self.took_ms[first:last])
        if not times:
            raise LoadFailed("nothing was sent for the length of a window")
        return times[int(len(times) * rank / 100)]


@dataclass(frozen=True)
class Rates:
    """Requests a second of both protocols."""

    http: int
    grpc: int


def main() -> None:
    course = read_options()
    end_in_order()
    sched_setaffinity(0, sorted(sched_getaffinity(0))[:2])
    if warning := busy_warning():
        print(warning)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        print(run(course, Path(scratch)))


def read_options() -> Course:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=Course.pairs_n)
    parser.add_argument("--seconds", type=float, default=Course.seconds, help="of one window")
    parser.add_argument("--per-second", type=float, default=Course.per_second, help="changes")
    parser.add_argument("--share", type=float, default=Course.share, help="of what the gateway can answer")
    parser.add_argument("--workers", type=int, default=Course.workers_n)
    given = parser.parse_args()
    return Course(given.pairs, given.seconds, given.per_second, given.share, given.workers)


def run(course: Course, scratch: Path) -> str:
    """All of it, as text. Raises LoadFailed when a request failed, or a change did not come to what it should."""
    body = scratch / "body.grpc"
    body.write_bytes(grpc_body(ROUTES[0], draw_input("tiny")))
    made = make_workload("tiny")
    workload = replace(made, name=ROUTES[0], bodies=made.bodies | {"grpc": body})
    documents = write_config(scratch / "config")
    with running(scratch / "config", course.workers_n) as gateway:
        rates = measure_rates(gateway, workload, course.share)
        operator = Operator(gateway.ports["admin"], documents)
        windows, answers = measure(course, gateway, workload, rates, operator, scratch)
    return render(windows, answers, rates, operator.refused)


def measure_rates(gateway: Gateway, workload: Workload, share: float) -> Rates:
    """Half of the share for each protocol. On the cores that the generator has as well."""
    cores = ",".join(map(str, sorted(sched_getaffinity(0))))
    found = {}
    for case, protocol in (("json", "http"), ("grpc", "grpc")):
        load = Load(case, workload, gateway.ports[protocol], AT_ONCE, WARM_S, cores)
        send(load)
        found[protocol] = round(send(load).per_second * share / 2)
    return Rates(**found)


def measure(
    course: Course, gateway: Gateway, workload: Workload, rates: Rates, operator: Operator, scratch: Path
) -> tuple[list[Window], Answers]:
    """One load as long as all windows, and the windows in it."""
    seconds = round(course.pairs_n * 2 * course.seconds) + 2 * WARM_S
    logs = [scratch / "http.log", scratch / "grpc.log"]
    http = http_command(gateway.ports["http"], workload, rates.http, seconds, logs[0])
    grpc = grpc_command(gateway.ports["grpc"], workload, rates.grpc, seconds, logs[1])
    before = refused_n(gateway)
    children = [subprocess.Popen(each, stdout=subprocess.DEVNULL) for each in (http, grpc)]
    try:
        sleep(WARM_S)
        windows = [
            watch(course, gateway, operator if has_changes else None)
            for pair in range(course.pairs_n)
            for has_changes in ((True, False), (False, True))[pair % 2]
        ]
        statuses = [child.wait(seconds) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    answers, failed_n = read_answers([log.read_text() for log in logs])
    failed_n += round(refused_n(gateway) - before)
    wanted_n = (rates.http + rates.grpc) * seconds
    if any(statuses) or failed_n or len(answers.sent_at) < LEAST_SENT * wanted_n:
        sent = f"{len(answers.sent_at)} of {wanted_n} were sent"
        raise LoadFailed(f"{failed_n} requests failed, {sent}, the load generators ended with {statuses}")
    return windows, answers


def watch(course: Course, gateway: Gateway, operator: Operator | None) -> Window:
    """One window, with an operator at work or without."""
    before, began_at = cpu_by_process(gateway), time()
    changes_n = operator.work(course.per_second, began_at + course.seconds) if operator else 0
    sleep(max(0.0, began_at + course.seconds - time()))
    spent = zip(cpu_by_process(gateway), before, strict=True)
    return Window(operator is not None, began_at, time(), changes_n, tuple(now - then for now, then in spent))


def cpu_by_process(gateway: Gateway) -> list[float]:
    return [read_own_cpu_s(process) for process in family_of(gateway.process)]


def refused_n(gateway: Gateway) -> float:
    """Requests that did not get an answer as they should, as the gateway counts them: h2load reads no gRPC status."""
    return read_server(Running("gateway", gateway.ports, {"http": gateway.process}, 0.0), "json").refused_n


def http_command(port: int, workload: Workload, rate: int, seconds: int, log: Path) -> list[str]:
    """HTTP JSON to all routes in turn, one request at a time on each connection."""
    urls = [f"http://127.0.0.1:{port}/v2/models/{route}/infer" for route in ROUTES]
    how = ["--h1", f"-c{AT_ONCE}", "-m1", f"--rps={rate / AT_ONCE}", "-H", "content-type: application/json"]
    return ["h2load", "-t1", "-D", str(seconds), f"--log-file={log}", *how, "-d", str(workload.bodies["json"]), *urls]


def grpc_command(port: int, workload: Workload, rate: int, seconds: int, log: Path) -> list[str]:
    """gRPC to the first route, for it is the message that names one."""
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    how = [f"-c{CHANNELS_N}", "-m32", f"--rps={rate / CHANNELS_N}", *headers, "-d", str(workload.bodies["grpc"])]
    return ["h2load", "-t1", "-D", str(seconds), f"--log-file={log}", *how, f"http://127.0.0.1:{port}{GRPC_PATH}"]


def read_answers(logs: Iterable[str]) -> tuple[Answers, int]:
    """What h2load noted of each request (start and duration in microseconds, status between), and how many failed."""
    rows = [line.split("\t")[:3] for log in logs for line in log.splitlines() if line.count("\t") >= 2]
    failed_n = sum(status != "200" for _, status, _ in rows)
    ordered = sorted((int(sent) / 1e6, int(took) / 1e3) for sent, _, took in rows)
    return Answers([sent for sent, _ in ordered], [took for _, took in ordered]), failed_n


def ratios(windows: Sequence[Window], answers: Answers, rank: int = 99) -> list[float]:
    """The percentile with changes over that without, pair by pair, in order of size."""
    found = []
    for pair in zip(windows[::2], windows[1::2], strict=True):
        calm, busy = sorted(pair, key=lambda window: window.has_changes)
        found.append(answers.percentile(rank, busy) / answers.percentile(rank, calm))
    return sorted(found)


def change_costs_ms(windows: Sequence[Window]) -> list[float]:
    """Processor time of a change in each process, control's first: what windows with changes took beyond the others."""
    spent = {
        kind: [sum(times) for times in zip(*(each.cpu_s for each in windows if each.has_changes is kind), strict=True)]
        for kind in (True, False)
    }
    changes_n = sum(each.changes_n for each in windows)
    return [(busy - calm) / changes_n * 1e3 for busy, calm in zip(spent[True], spent[False], strict=True)]


def render(windows: Sequence[Window], answers: Answers, rates: Rates, refused: Counter[str]) -> str:
    """A table, and the aim below it."""
    busy, calm = ([each for each in windows if each.has_changes is kind] for kind in (True, False))
    changes_n, changing_s = sum(each.changes_n for each in busy), sum(each.ended_at - each.began_at for each in busy)
    control, *workers = (f"{each:.1f}" for each in change_costs_ms(windows))
    lines = [
        "",
        f"{changes_n} changes in {changing_s:.0f} s, {refused.total()} of them refused,",
        f"beside {rates.http} requests a second over HTTP and {rates.grpc} over gRPC, none of which failed:",
        "",
        "| windows | p50 ms | p99 ms (least..most) |",
        "|:--|--:|--:|",
        _line("with changes", busy, answers),
        _line("without", calm, answers),
        "",
        f"Processor time of a change: {control} ms in the control process, {', '.join(workers)} ms in the workers.",
        "",
        render_figures([(CHANGES_AIM, ratios(windows, answers))]),
    ]
    return "\n".join(lines)


def _line(name: str, windows: Sequence[Window], answers: Answers) -> str:
    p50 = median(answers.percentile(50, each) for each in windows)
    p99 = sorted(answers.percentile(99, each) for each in windows)
    return f"| {name} | {p50:.2f} | {median(p99):.2f} ({p99[0]:.2f}..{p99[-1]:.2f}) |"


if __name__ == "__main__":
    main()
