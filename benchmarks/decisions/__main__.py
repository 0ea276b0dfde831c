"""Few false rollbacks in eight worlds without a difference, and how soon a difference is found: what the rule promises.

    python benchmarks/decisions                 # everything, some ten minutes on two cores
    python benchmarks/decisions --write         # and put the tables into RESULTS.md here, newest first
    python benchmarks/decisions --only worlds   # worlds, errors, blocks, latency, late, proofs, deaths
    python benchmarks/decisions --runs 50       # a tenth of the time, and figures that are no more than a sign of life

The same seed gives the same figures, however many processes there are. It ends with 1, and names the rows, where one
misses what is promised.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.decisions import tables
from benchmarks.decisions.questions import QUESTIONS, answer
from benchmarks.machine import describe_machine, turnout_version
from benchmarks.report import insert_section

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=600, help="runs of each world; delays take half as many")
    parser.add_argument("--seed", type=int, default=20261126)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", choices=[question.name for question in QUESTIONS])
    parser.add_argument("--write", action="store_true", help=f"put the tables into {RESULTS.name}, newest first")
    wanted = parser.parse_args(arguments)
    parts, missed = [], list[str]()
    for question in QUESTIONS:
        if wanted.only in (None, question.name):
            runs_n = max(round(wanted.runs * question.part), 1)
            found = answer(question, runs_n, wanted.seed, wanted.jobs)
            parts.append(f"### {tables.TITLES[question.name]}\n\n{question.render(question.cases, found)}")
            missed += question.misses(question.cases, found)
            print(f"{parts[-1]}\n", flush=True)
    if wanted.write:
        head = f"## {datetime.now(UTC):%Y-%m-%d}\n\n{describe_machine()}. {turnout_version()}."
        told = f"{wanted.runs} runs of a world, {wanted.runs // 2} of a delay, seed {wanted.seed}."
        section = "\n\n".join([head, told, *parts])
        RESULTS.write_text(insert_section(RESULTS.read_text(), section))
    for each in missed:
        print(f"missed: {each}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
