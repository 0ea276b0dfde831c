"""What the gateway means to reach, and whether a run reached it: ratios within each round, then the median."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rounds import Run
from benchmarks.servers import FLOOR, STRATEGIES

AT_ONCE = 64
OURS = "none"  # the gateway without anything to decide
MEMORY_MIB = 200.0
START_S = 3.0

Figure = Callable[[Run], float]


@dataclass(frozen=True)
class Ratio:
    """`ours` over `theirs` in one case; `least` where more is better, `most` where less is."""

    what: str
    case: str
    at_once: int
    ours: str
    theirs: str
    figure: Figure
    least: float | None = None
    most: float | None = None


def _rate(run: Run) -> float:
    return run.measured.per_second


def _p50(run: Run) -> float:
    return run.measured.p50_ms


RATIOS = (
    Ratio("HTTP JSON, requests/s beside the floor", "json", AT_ONCE, OURS, FLOOR, _rate, least=0.60),
    Ratio("HTTP JSON, requests/s beside MLServer", "json", AT_ONCE, OURS, "mlserver", _rate, least=6),
    Ratio("HTTP JSON, requests/s beside KServe", "json", AT_ONCE, OURS, "kserve", _rate, least=10),
    Ratio("HTTP JSON, requests/s beside BentoML", "json", AT_ONCE, OURS, "bentoml", _rate, least=10),
    Ratio("HTTP JSON, p50 of a lone caller beside the floor", "json", 1, OURS, FLOOR, _p50, most=1.2),
    Ratio("gRPC, requests/s beside MLServer", "grpc", AT_ONCE, OURS, "mlserver", _rate, least=1.5),
    Ratio("A/B, requests/s beside no strategy", "json", AT_ONCE, "ab", OURS, _rate, least=0.95),
    Ratio("canary, requests/s beside no strategy", "json", AT_ONCE, "canary", OURS, _rate, least=0.95),
    Ratio("shadow of every request, requests/s beside none", "json", AT_ONCE, "shadow", OURS, _rate, least=0.6),
)
HEAD = "| aim | wanted | measured (least..most) | |\n|:--|:--|:--|:--|"


def render_targets(runs: Sequence[Run]) -> str:
    """A table of the aims that these runs can tell of; "" if they tell of none."""
    lines = [line for ratio in RATIOS if (line := _line(ratio, runs))]
    ours = [run for run in runs if run.server in STRATEGIES]
    if ours:
        memory, start = max(run.memory_mib for run in ours), median(run.start_s for run in ours)
        lines.append(_row("memory with the models, MiB", f"≤ {MEMORY_MIB:.0f}", f"{memory:.0f}", memory <= MEMORY_MIB))
        lines.append(_row("from command to ready, s", f"≤ {START_S:.0f}", f"{start:.1f}", start <= START_S))
    return "\n".join([HEAD, *lines]) if lines else ""


def measured(ratio: Ratio, runs: Sequence[Run]) -> list[float]:
    """The ratio in each round that has both."""
    found: dict[str, dict[int, float]] = {ratio.ours: {}, ratio.theirs: {}}
    for run in runs:
        if run.server in found and (run.case, run.at_once) == (ratio.case, ratio.at_once):
            found[run.server][run.round_no] = ratio.figure(run)
    ours, theirs = found[ratio.ours], found[ratio.theirs]
    return sorted(ours[number] / theirs[number] for number in ours.keys() & theirs.keys())


def _line(ratio: Ratio, runs: Sequence[Run]) -> str:
    found = measured(ratio, runs)
    if not found:
        return ""
    middle = median(found)
    if ratio.least is not None:
        wanted, is_met = f"≥ {ratio.least:g}", middle >= ratio.least
    else:
        assert ratio.most is not None
        wanted, is_met = f"≤ {ratio.most:g}", middle <= ratio.most
    return _row(ratio.what, wanted, f"{middle:.2f} ({found[0]:.2f}..{found[-1]:.2f})", is_met)


def _row(what: str, wanted: str, found: str, is_met: bool) -> str:
    return f"| {what} | {wanted} | {found} | {'met' if is_met else '**missed**'} |"
