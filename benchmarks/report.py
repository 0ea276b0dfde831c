"""From runs to tables: medians over rounds with the least and the most, and ratios to the floor within each round."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load import CASES
from benchmarks.rounds import Run
from benchmarks.servers import FLOOR, LOOP, SERVERS

UNDECIDED = "none"  # the gateway without anything to decide, which strategies are compared to
MARK = "<!-- newest first; `benchmarks/run.py --write` puts its section below this line -->"
HEAD = "| at once | server | requests/s (min..max) | of floor | of none | p50 ms | p99 ms | CPU µs | |"
RULE = "|--:|:--|--:|--:|--:|--:|--:|--:|:--|"


@dataclass(frozen=True)
class Row:
    """One cell over all rounds. Ratios are None where there is nothing to compare with."""

    case: str
    at_once: int
    server: str
    per_second: tuple[float, float, float]  # median, least, most
    of_floor: float | None
    of_none: float | None
    p50_ms: float
    p99_ms: float
    cpu_us: float
    note: str


def make_rows(runs: Sequence[Run]) -> list[Row]:
    """One row per cell that was measured, in the order of cases, connections, servers."""
    cells: defaultdict[tuple[str, int, str], dict[int, Run]] = defaultdict(dict)
    for run in runs:
        cells[run.case, run.at_once, run.server][run.round_no] = run
    order = sorted(cells, key=lambda cell: (list(CASES).index(cell[0]), cell[1], SERVERS.index(cell[2])))
    return [_row(cell, cells) for cell in order]


def render(rows: Sequence[Row]) -> str:
    """Markdown: one table per case."""
    parts: list[str] = []
    for case, title in CASES.items():
        lines = [_line(row) for row in rows if row.case == case]
        if lines:
            parts.append("\n".join([f"### {title}", "", HEAD, RULE, *lines]))
    return "\n\n".join(parts)


def render_footprint(runs: Sequence[Run]) -> str:
    """Memory and start of each server, in a sentence each."""
    latest = {run.server: run for run in runs}
    names = [name for name in SERVERS if name in latest and name != LOOP]
    memory = ", ".join(f"{name} {max(run.memory_mib for run in runs if run.server == name):.0f} MiB" for name in names)
    starts = ", ".join(
        f"{name} {median({run.round_no: run.start_s for run in runs if run.server == name}.values()):.1f} s"
        for name in names
    )
    return f"Resident memory, highest: {memory}. From command to listening: {starts}."


def insert_section(document: str, section: str) -> str:
    """The results file with a new section on top of the older ones. Raises ValueError when it has no mark."""
    head, mark, older = document.partition(MARK)
    if not mark:
        raise ValueError(f"the results file lacks the line {MARK}")
    return "\n\n".join(part.strip() for part in (head, mark, section, older) if part.strip()) + "\n"


def _row(cell: tuple[str, int, str], cells: dict[tuple[str, int, str], dict[int, Run]]) -> Row:
    case, at_once, server = cell
    rounds = cells[cell]
    rates = [run.measured.per_second for run in rounds.values()]
    return Row(
        case=case,
        at_once=at_once,
        server=server,
        per_second=(median(rates), min(rates), max(rates)),
        of_floor=_ratio(rounds, cells.get((case, at_once, FLOOR), {})),
        of_none=_ratio(rounds, cells.get((case, at_once, UNDECIDED), {})) if server != FLOOR else None,
        p50_ms=_median(rounds, lambda run: run.measured.p50_ms),
        p99_ms=_median(rounds, lambda run: run.measured.p99_ms),
        cpu_us=_median(rounds, lambda run: run.cpu_us),
        note=_note(list(rounds.values())),
    )


def _ratio(ours: dict[int, Run], theirs: dict[int, Run]) -> float | None:
    """The median over rounds of a ratio taken within each: what changes from round to round then cancels out."""
    shared = ours.keys() & theirs.keys()
    if not shared:
        return None
    return median([ours[number].measured.per_second / theirs[number].measured.per_second for number in shared])


def _median(rounds: dict[int, Run], figure: Callable[[Run], float]) -> float:
    return median([figure(run) for run in rounds.values()])


def _note(runs: list[Run]) -> str:
    notes: list[str] = []
    made_n = sum(run.seen.shadows_made_n for run in runs)
    lost_n = sum(run.seen.shadows_dropped_n for run in runs)
    if lost_n:
        notes.append(f"{made_n / (made_n + lost_n):.1%} of shadows made, the rest dropped")
    elif made_n:
        notes.append("all shadows made")
    for what in ("events", "spans"):
        dropped_n = sum(getattr(run.seen, f"{what}_dropped_n") for run in runs)
        if dropped_n:
            notes.append(f"{dropped_n:.0f} {what} dropped")
    return "; ".join(notes)


def _line(row: Row) -> str:
    middle, least, most = row.per_second
    cells = (
        str(row.at_once),
        row.server,
        f"{middle:.0f} ({least:.0f}..{most:.0f})",
        _share(row.of_floor),
        _share(row.of_none),
        f"{row.p50_ms:.2f}",
        f"{row.p99_ms:.2f}",
        f"{row.cpu_us:.0f}",
        row.note,
    )
    return f"| {' | '.join(cells)} |"


def _share(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
