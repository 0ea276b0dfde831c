"""The questions, one table each, and all the runs that answer one, shared out over processes."""

from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from benchmarks.decisions import delays, tables
from benchmarks.decisions.worlds import CONTRASTS, WORLDS, alarms


class Question(NamedTuple):
    """One table: its cases, one run of a case, the share of `--runs` it takes, how it is written, what it misses."""

    name: str
    cases: Sequence[Any]
    run: Callable[[Any, np.random.Generator], Any]
    part: float
    render: Callable[[Sequence[Any], list[list[Any]]], str]
    misses: Callable[[Sequence[Any], list[list[Any]]], list[str]] = tables.missed_medians


QUESTIONS = (
    Question("worlds", (*WORLDS, *CONTRASTS), alarms, 1.0, tables.worlds, tables.missed_worlds),
    Question("errors", delays.ERRORS, delays.one_error, 0.5, tables.errors),
    Question("blocks", delays.BLOCKS, delays.one_error, 0.5, tables.errors),
    Question("latency", delays.LATENCY, delays.one_latency, 0.5, tables.errors),
    Question("late", delays.LATE, delays.one_late, 0.5, tables.late),
    Question("proofs", delays.PROOFS, delays.one_proof, 0.5, tables.proofs),
    Question("deaths", delays.DEATHS, delays.one_death, 0.5, tables.deaths, tables.nothing_missed),
)


def one_run(seed: int, question_index: int, at: tuple[int, int]) -> Any:
    """A run by its case and number: its chance depends on these and the seed alone."""
    case, run = at
    question = QUESTIONS[question_index]
    return question.run(question.cases[case], np.random.default_rng([seed, question_index, case, run]))


def answer(question: Question, runs_n: int, seed: int, jobs_n: int) -> list[list[Any]]:
    """All runs of all cases of a question."""
    index = QUESTIONS.index(question)
    places = [(case, run) for case in range(len(question.cases)) for run in range(runs_n)]
    if jobs_n == 1:
        found = [one_run(seed, index, place) for place in places]
    else:
        with get_context("spawn").Pool(jobs_n) as pool:
            found = pool.map(partial(one_run, seed, index), places, chunksize=8)
    return [found[case * runs_n : (case + 1) * runs_n] for case in range(len(question.cases))]
