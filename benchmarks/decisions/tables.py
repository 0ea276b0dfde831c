"""The tables of a run, in Markdown: what was found beside what was promised."""

from collections.abc import Sequence
from math import inf, sqrt
from typing import Any

from benchmarks.decisions.delays import Case, Death, Late, Proof, Slower, middle, quantile
from benchmarks.decisions.worlds import Alarms, World

ALPHA = 0.05
TOLERANCE = 0.25
TITLES = {
    "worlds": "False rollbacks, alpha 5 %, of candidates exactly as good as the baseline",
    "errors": "Requests of both arms until a candidate with more errors is condemned, median (90 %)",
    "blocks": "The same in the block form",
    "latency": "Requests of both arms until a slower candidate is condemned, median (90 %)",
    "late": "Requests from its onset until a rise from 1 to 2 % is condemned, alpha 5 %, median",
    "proofs": "Bad events until an equal candidate is proven safe, beta 5 %, median (90 %)",
    "deaths": "Seconds from total failure to the end of the epoch that condemns, alpha 1 %, median (90 %)",
}


def highest_rate(runs_n: int, alpha: float = ALPHA) -> float:
    """Alpha and three standard errors of so many runs."""
    return alpha + 3 * sqrt(alpha * (1 - alpha) / runs_n)


def worlds(cases: Sequence[World], found: Sequence[Sequence[Alarms]]) -> str:
    rows = [
        "| world | form | ours | at most | | ours, if the form chooses | pooled z test | fixed threshold |",
        "|:--|:--|--:|--:|:--|--:|--:|--:|",
    ]
    for world, runs in zip(cases, found, strict=True):
        ours, auto, pooled, fixed = (sum(each) / len(runs) for each in zip(*runs, strict=True))
        limit = highest_rate(len(runs))
        kept = "not promised" if not world.is_promised else "kept" if ours <= limit else "**broken**"
        rows.append(
            f"| {world.name} | {world.form} | {ours:.1%} | {limit:.1%} | {kept} "
            f"| {auto:.1%} | {pooled:.1%} | {fixed:.1%} |"
        )
    return "\n".join(rows)


def errors(cases: Sequence[Case | Slower], found: Sequence[Sequence[Sequence[float]]]) -> str:
    rows = [
        "| change | candidate's share | alpha 5 % | promised | | alpha 1 % | promised | |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case, runs in zip(cases, found, strict=True):
        cells = []
        for level, values in enumerate(zip(*runs, strict=True)):
            promised = case.promised[level] if level < len(case.promised) else None
            cells.append(
                f"{spread(values)} | {f'{promised:,} | {middle(list(values)) / promised:.2f}' if promised else '|'}"
            )
        rows.append(f"| {case.name} | {case.share:.0%} | {' | '.join(cells)} |")
    return "\n".join(rows)


def late(cases: Sequence[Late], found: Sequence[Sequence[Sequence[float]]]) -> str:
    rows = [
        "| candidate's share | begins after | ours | promised | | a test that never begins again | alarms before |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case, runs in zip(cases, found, strict=True):
        values = [value for (value,) in runs]
        early = sum(value == -inf for value in values) / len(values)
        half = middle(values)
        rows.append(
            f"| {case.share:.0%} | {case.onset_n:,} | {half:,.0f} | {case.promised:,} | {half / case.promised:.2f} "
            f"| {case.plain:,} | {early:.1%} |"
        )
    return "\n".join(rows)


def proofs(cases: Sequence[Proof], found: Sequence[Sequence[Sequence[float]]]) -> str:
    rows = ["| less than | candidate's share | ours | promised | |", "|--:|--:|--:|--:|--:|"]
    for case, runs in zip(cases, found, strict=True):
        values = [value for (value,) in runs]
        rows.append(
            f"| {case.ratio:g}x | {case.share:.0%} | {spread(values)} | {case.promised:,} "
            f"| {middle(values) / case.promised:.2f} |"
        )
    return "\n".join(rows)


def deaths(cases: Sequence[Death], found: Sequence[Sequence[Sequence[float]]]) -> str:
    rows = ["| form | candidate's share | good before, s | ours, s |", "|:--|--:|--:|--:|"]
    for case, runs in zip(cases, found, strict=True):
        rows.append(f"| {case.form} | {case.share:.0%} | {case.calm_s:g} | {spread([value for (value,) in runs])} |")
    return "\n".join(rows)


def spread(values: Sequence[float]) -> str:
    """Median and nine tenths."""
    return f"{middle(list(values)):,.0f} ({quantile(list(values), 0.9):,.0f})"


def missed_worlds(cases: Sequence[World], found: Sequence[Sequence[Alarms]]) -> list[str]:
    """The worlds in which more innocent candidates are rolled back than promised."""
    rates = [sum(each.ours for each in runs) / len(runs) for runs in found]
    return [
        f"{world.name}: {rate:.1%} rolled back, at most {highest_rate(len(runs)):.1%} promised"
        for world, runs, rate in zip(cases, found, rates, strict=True)
        if world.is_promised and rate > highest_rate(len(runs))
    ]


def missed_medians(cases: Sequence[Any], found: Sequence[Sequence[Sequence[float]]]) -> list[str]:
    """The cases of which a median is further from the promised one than tolerated."""
    missed = []
    for case, runs in zip(cases, found, strict=True):
        promised = case.promised if isinstance(case.promised, tuple) else (case.promised,)
        for level, wanted in enumerate(promised):
            part = middle([run[level] for run in runs]) / wanted
            if not abs(part - 1) <= TOLERANCE:
                missed.append(f"{case}: {part:.2f} of {wanted:,}")
    return missed


def nothing_missed(_cases: Sequence[Any], _found: Sequence[Sequence[Any]]) -> list[str]:
    """Of what nothing is promised."""
    return []
