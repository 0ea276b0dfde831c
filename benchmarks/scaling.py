"""What a second worker brings, with the load generator's share of the machine taken out.

    .venv/bin/python benchmarks/scaling.py [--cases json,grpc] [--at-once N] [--rounds N] [--seconds N] [--workers N]

On a machine with few cores the load generator runs on the same ones, so requests per second say little about workers.
What a gateway could do if every process had a core to itself is set by the busiest of them: it answers as many requests
as the others let it by the time it has used one second of its core. So the figure is

    capacity = requests answered / processor time of the busiest process

and scaling is the capacity of N workers over that of one. It has all that keeps workers from scaling in it: an uneven
share of the connections, caches and memory they contend for while they run at the same time, and the control process,
should that be the busiest. It does not have the kernel's work on the loopback that is done on the generator's account.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.load import CASES, Load, send
from benchmarks.machine import busy_warning, end_in_order, pick_cpus
from benchmarks.models import CACHE, Workload, make_workload
from benchmarks.readings import family_of, read_own_cpu_s
from benchmarks.servers import write_config
from benchmarks.start import running

WARM_S = 1


@dataclass(frozen=True)
class Reading:
    """One load of one gateway: requests answered, seconds of processor time by process, the control process's first."""

    requests_n: int
    per_second: float
    cpu_s: tuple[float, ...]

    @property
    def capacity(self) -> float:
        """Requests a second of the busiest process's time."""
        return self.requests_n / max(self.cpu_s)

    @property
    def evenness(self) -> float:
        """What the busiest worker did, of what it would have done had all done the same; 1 is even."""
        workers = self.cpu_s[1:]
        return max(workers) * len(workers) / sum(workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="json,grpc")
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    end_in_order()
    if warning := busy_warning():
        print(warning)
    print(f"| case | capacity, 1 worker | {given.workers} workers | scaling | busiest of even | on the clock |")
    print("|---|---|---|---|---|---|")
    workload = make_workload("tiny")
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        config = Path(scratch)
        write_config(config, "none", workload)
        for case in given.cases.split(","):
            rounds = [
                [measure(config, workload, case, given, workers) for workers in (1, given.workers)]
                for _ in range(given.rounds)
            ]
            print(f"| {CASES[case]} | " + " | ".join(summarize(rounds)) + " |", flush=True)


def measure(config: Path, workload: Workload, case: str, given: argparse.Namespace, workers: int) -> Reading:
    """Start a gateway, warm it, load it, and read what each of its processes took."""
    with running(config, workers) as gateway:
        port = gateway.ports["grpc" if case == "grpc" else "http"]
        cpu = pick_cpus()[1]
        send(Load(case, workload, port, given.at_once, WARM_S, cpu))
        family = family_of(gateway.process)
        before = [read_own_cpu_s(each) for each in family]
        measured = send(Load(case, workload, port, given.at_once, given.seconds, cpu))
        if measured.failed_n:
            raise SystemExit(f"{measured.failed_n} requests failed")
        cpu_s = (read_own_cpu_s(each) - was for each, was in zip(family, before, strict=True))
        return Reading(measured.requests_n, measured.per_second, tuple(cpu_s))


def summarize(rounds: Sequence[Sequence[Reading]]) -> list[str]:
    """The cells of a row: medians over the rounds, of ratios taken within each."""
    ones, manys = zip(*rounds, strict=True)
    ratios = sorted(many.capacity / one.capacity for one, many in rounds)
    clock = median(many.per_second / one.per_second for one, many in rounds)
    return [
        f"{median(one.capacity for one in ones):.0f}",
        f"{median(many.capacity for many in manys):.0f}",
        f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        f"{median(many.evenness for many in manys):.2f}",
        f"{clock:.2f}",
    ]


if __name__ == "__main__":
    main()
