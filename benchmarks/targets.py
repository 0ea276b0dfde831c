"""What the gateway means to reach, and whether a run reached it: ratios within each round, then the median."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rounds import Run
from benchmarks.servers import FLOOR, LOOP, ON_RAY, STRATEGIES

AT_ONCE = 64
OURS = "none"  # the gateway without anything to decide
SMALLEST = "tiny"

Figure = Callable[[Run], float]


@dataclass(frozen=True)
class Aim:
    """Something to reach: `least` where more is better, `most` where less is. `how` says what measures it."""

    what: str
    least: float | None = None
    most: float | None = None
    how: str = ""

    @property
    def wanted(self) -> str:
        return f"≤ {self.most:g}" if self.least is None else f"≥ {self.least:g}"

    def is_met(self, found: float) -> bool:
        return (self.least is None or found >= self.least) and (self.most is None or found <= self.most)


@dataclass(frozen=True)
class Ratio:
    """An aim that is `ours` over `theirs` in one case of one model."""

    aim: Aim
    case: str
    at_once: int
    ours: str
    theirs: str
    figure: Figure
    model: str = SMALLEST


def _rate(run: Run) -> float:
    return run.measured.per_second


def _p50(run: Run) -> float:
    return run.measured.p50_ms


def _rate_beside(theirs: str, what: str, least: float) -> Ratio:
    return Ratio(Aim(f"HTTP JSON, requests/s beside {what}", least), "json", AT_ONCE, OURS, theirs, _rate)


def _rate_with(strategy: str, what: str, least: float) -> Ratio:
    return Ratio(Aim(f"{what}, requests/s beside no strategy", least), "json", AT_ONCE, strategy, OURS, _rate)


def _rate_on_ray(theirs: str, what: str, least: float) -> Ratio:
    return Ratio(Aim(f"on Ray, requests/s beside {what}", least), "json", AT_ONCE, ON_RAY, theirs, _rate)


RATIOS = (
    _rate_beside(FLOOR, "the floor", 0.60),
    _rate_beside("mlserver", "MLServer", 6),
    _rate_beside("kserve", "KServe", 10),
    _rate_beside("bentoml", "BentoML", 10),
    Ratio(Aim("HTTP JSON, p50 of a lone caller beside the floor", most=1.2), "json", 1, OURS, FLOOR, _p50),
    Ratio(Aim("gRPC, requests/s beside MLServer", 1.5), "grpc", AT_ONCE, OURS, "mlserver", _rate),
    _rate_with("ab", "A/B", 0.95),
    _rate_with("canary", "canary", 0.95),
    _rate_with("shadow", "shadow of every request", 0.6),
    Ratio(
        Aim("medium, rows/s beside a plain loop of batches", 0.9, how="run.py --model medium"),
        *("json", AT_ONCE, OURS, LOOP, _rate, "medium"),
    ),
    _rate_on_ray("rayserve", "Ray Serve", 10),
    _rate_on_ray("rayserve+haproxy", "Ray Serve with HAProxy", 2),
    Ratio(Aim("on Ray, p50 of a lone caller beside an arm in the gateway", most=2.5), "json", 1, ON_RAY, OURS, _p50),
)
SHADOW_AIM = Aim("shadow of every request at half load, p99 beside none", most=1.1, how="run.py --shadow, or shadow.py")
REPLICA_AIM = Aim(
    "medium on Ray, rows/s beside the same loop in that replica", 0.85, how="run.py --replica, or handle.py"
)
CHANGES_AIM = Aim("a thousand changes in 120 s at half load, p99 beside none", most=1.2, how="changes.py")
MEMORY_AIM = Aim("memory with the models, MiB", most=200)
START_AIM = Aim("from command to ready, s", most=3)
HEAD = "| aim | wanted | measured (least..most) | |\n|:--|:--|:--|:--|"

Figures = tuple[Aim, Sequence[float]]  # one for each round, in order; none where it was not measured


def render_targets(
    runs: Sequence[Run], model: str, shadow_ratios: Sequence[float] = (), replica_ratios: Sequence[float] = ()
) -> str:
    """A table of all aims, with what runs of `model` tell of them; "" if they tell of none."""
    found: list[Figures] = [(each.aim, measured(each, runs) if each.model == model else ()) for each in RATIOS]
    found += [(SHADOW_AIM, shadow_ratios), (REPLICA_AIM, replica_ratios)]
    ours = [run for run in runs if run.server in STRATEGIES and model == SMALLEST]
    found.append((MEMORY_AIM, [max(run.memory_mib for run in ours)] if ours else ()))
    found.append((START_AIM, [median(run.start_s for run in ours)] if ours else ()))
    return render_figures(found) if any(figures for _, figures in found) else ""


def render_figures(found: Sequence[Figures]) -> str:
    """A table of aims, each with its figures."""
    return "\n".join([HEAD, *[_line(aim, figures) for aim, figures in found]])


def measured(ratio: Ratio, runs: Sequence[Run]) -> list[float]:
    """The ratio in each round that has both."""
    found: dict[str, dict[int, float]] = {ratio.ours: {}, ratio.theirs: {}}
    for run in runs:
        if run.server in found and (run.case, run.at_once) == (ratio.case, ratio.at_once):
            found[run.server][run.round_no] = ratio.figure(run)
    ours, theirs = found[ratio.ours], found[ratio.theirs]
    return sorted(ours[number] / theirs[number] for number in ours.keys() & theirs.keys())


def _line(aim: Aim, figures: Sequence[float]) -> str:
    if not figures:
        return f"| {aim.what} | {aim.wanted} | not measured{f' ({aim.how})' if aim.how else ''} | |"
    middle = median(figures)
    shown = f"{middle:.0f}" if middle >= 100 else f"{middle:.2f}"
    spread = f" ({figures[0]:.2f}..{figures[-1]:.2f})" if len(figures) > 1 else ""
    return f"| {aim.what} | {aim.wanted} | {shown}{spread} | {'met' if aim.is_met(middle) else '**missed**'} |"
