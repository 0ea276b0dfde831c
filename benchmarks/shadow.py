"""What a shadow of every request does to the answers, at half of what the gateway can do: a ratio of p99s.

    .venv/bin/python benchmarks/shadow.py [--rounds N] [--seconds N] [--share 0.5]

Two gateways in turn, alike but for the shadow, each pinned to the two first cores, on the second of which the load
generator runs as well. The load is open (paced.py): requests leave when they are due, and a stall of the gateway is
felt by everybody who comes meanwhile. The rate is `share` of what the gateway without a shadow answers over HTTP when
it is asked as fast as it can.

Each round measures both, beginning with another one each time; the ratio is taken within a round, then the median.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.answers import await_answers
from benchmarks.load import Load, LoadFailed, Measured, send
from benchmarks.machine import busy_warning, end_in_order, pick_cpus
from benchmarks.models import CACHE, make_workload
from benchmarks.readings import Reading, read_server
from benchmarks.servers import Running, Station, serve
from benchmarks.sink import TraceSink

NAMES = ("none", "shadow")
PACED = Path(__file__).with_name("paced.py")
WARM_S = 2
LEAST_SENT = 0.98  # of the rate: a generator that cannot keep it measures itself


@dataclass(frozen=True)
class Result:
    """One gateway in one round."""

    measured: Measured
    seen: Reading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.5, help="of what the gateway can do without a shadow")
    given = parser.parse_args()
    end_in_order()
    if warning := busy_warning():
        print(warning)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch, TraceSink() as sink:
        server, load = pick_cpus()
        station = Station(make_workload("tiny"), Path(scratch), f"{server},{load}", sink.endpoint)
        rate = round(capacity(station, load) * given.share)
        rounds = []
        for number in range(given.rounds):
            order = NAMES if number % 2 else NAMES[::-1]
            results = {name: measure(name, station, rate, given.seconds, load) for name in order}
            rounds.append(results)
            print(
                f"round {number + 1}: " + ", ".join(f"{n} p99 {results[n].measured.p99_ms:.2f} ms" for n in NAMES),
                flush=True,
            )
    print(render(rounds, rate, given.share))


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
    with serve(name, station) as running:
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


def render(rounds: list[dict[str, Result]], rate: int, share: float) -> str:
    """A table, and the ratio in a sentence."""
    ratios = sorted(each["shadow"].measured.p99_ms / each["none"].measured.p99_ms for each in rounds)
    middles = sorted(each["shadow"].measured.p50_ms / each["none"].measured.p50_ms for each in rounds)
    made_n = sum(each["shadow"].seen.shadows_made_n for each in rounds)
    lost_n = sum(each["shadow"].seen.shadows_dropped_n for each in rounds)
    lines = ["", "| | p50 ms | p99 ms |", "|:--|--:|--:|"]
    for name in NAMES:
        p50, p99 = (median(getattr(each[name].measured, what) for each in rounds) for what in ("p50_ms", "p99_ms"))
        lines.append(f"| {name} | {p50:.2f} | {p99:.2f} |")
    lines.append(
        f"\n{rate} calls a second, {share:.0%} of what it can: p99 with a shadow over without {median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}), p50 {median(middles):.2f}; "
        f"{made_n / (made_n + lost_n):.1%} of shadows made."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
