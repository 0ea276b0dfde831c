"""What a run has measured so far, on disk: a run that is stopped loses the turn it was in and nothing else.

One file for each run, `.turnout/bench/runs-*.jsonl`: a line that says what was to be measured, then one for each cell
and each warning.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.load import Measured
from benchmarks.readings import Reading
from benchmarks.rounds import Matrix, Run, Turn, cells_of

WARNING = "warning"


class NothingToResume(Exception):
    """No run was left unfinished."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured: `effort` is quick, default or full, `turnout` the version and commit that began it."""

    model: str
    effort: str
    turnout: str
    matrix: Matrix


class Record:
    """A run's file, the cells in it that belong to whole turns, and what speaks against their figures."""

    def __init__(self, path: Path, plan: Plan, runs: Iterable[Run] = (), warnings: Iterable[str] = ()) -> None:
        self.path = path
        self.plan = plan
        self.runs = list(runs)
        self.warnings = list(warnings)

    def keep(self, run: Run) -> None:
        """Add a cell, on disk before anything else happens."""
        self.runs.append(run)
        self._append(asdict(run))

    def warn(self, warning: str) -> None:
        """Add a warning, which a run that goes on will repeat."""
        if warning not in self.warnings:
            self.warnings.append(warning)
            self._append({WARNING: warning})

    def turns(self) -> frozenset[Turn]:
        """Rounds of servers of which every cell is here."""
        return frozenset(_whole_turns(self.plan.matrix, self.runs))

    def rewrite(self) -> None:
        """Have on disk what is here and nothing else."""
        all_of_it = [asdict(self.plan), *[{WARNING: each} for each in self.warnings], *map(asdict, self.runs)]
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(each) + "\n" for each in all_of_it))
        fresh.replace(self.path)

    def _append(self, written: dict[str, Any]) -> None:
        with self.path.open("a") as lines:
            lines.write(json.dumps(written) + "\n")


def begin(folder: Path, plan: Plan) -> Record:
    """A record with nothing in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"runs-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.jsonl"
    record = Record(path, plan)
    record.rewrite()
    return record


def resume(folder: Path) -> Record:
    """The newest record, without the cells of turns that were not finished, on disk as well. Raises NothingToResume."""
    path = max(folder.glob("runs-*.jsonl"), default=None)
    if path is None:
        raise NothingToResume(f"no run was kept in {folder}")
    *lines, _cut_off = path.read_text().split("\n")  # what was written whole ends with a line break
    head, *lines = lines or [""]
    try:
        plan = _plan(json.loads(head))
        written = [json.loads(line) for line in lines]
        warnings = [each[WARNING] for each in written if WARNING in each]
        found = [_run(each) for each in written if WARNING not in each]
        runs = {(run.server, run.case, run.at_once, run.round_no): run for run in found}
    except (ValueError, KeyError, TypeError) as error:  # written by another version
        raise NothingToResume(f"{path} cannot be gone on with: {type(error).__name__}: {error}") from None
    matrix = plan.matrix
    whole = _whole_turns(matrix, runs.values())
    if len(whole) == matrix.rounds_n * len(matrix.servers):
        raise NothingToResume(f"the newest run, {path.name}, was measured to its end")
    record = Record(path, plan, [run for run in runs.values() if (run.round_no, run.server) in whole], warnings)
    record.rewrite()
    return record


def _whole_turns(matrix: Matrix, runs: Iterable[Run]) -> set[Turn]:
    seen = {(run.round_no, run.server, run.case, run.at_once) for run in runs}
    return {
        (round_no, server)
        for round_no in range(matrix.rounds_n)
        for server in matrix.servers
        if all((round_no, server, *cell) in seen for cell in cells_of(server, matrix))
    }


def _plan(written: dict[str, Any]) -> Plan:
    matrix = written["matrix"]
    for name in ("servers", "cases", "at_once"):
        matrix[name] = tuple(matrix[name])
    return Plan(written["model"], written["effort"], written["turnout"], Matrix(**matrix))


def _run(written: dict[str, Any]) -> Run:
    parts = {"measured": Measured(**written["measured"]), "seen": Reading(**written["seen"])}
    return Run(**(written | parts))
