"""Streams of epochs in which the truth is known, drawn from a seed; and the rule looking at them after every epoch."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from strategies.evidence.epochs import ERROR_RATE, ArmCounts, Epoch
from strategies.evidence.rule import Bound, Form, Rule, Verdict, fold, judge, start

WHOLE_PPM = 1_000_000
NEW, OLD = "new", "old"


class Arm(NamedTuple):
    """What one arm did in an epoch. `raw_bad_n` is what somebody counts who does not decluster."""

    requests_n: int
    events: dict[str, int]
    raw_bad_n: int
    units_n: int = 0
    runs_n: int = 0
    withheld_n: int = 0


class Seen(NamedTuple):
    """One epoch, as the rule sees it and as a plain test does: (bad, of) of the candidate and of the baseline."""

    epoch: Epoch
    plain: tuple[tuple[int, int], tuple[int, int]]


Stream = Callable[[np.random.Generator], Iterator[Seen]]


def seen(number: int, share: float, new: Arm, old: Arm, step: int = 0) -> Seen:
    ppm = round(share * WHOLE_PPM)
    counts = {name: ArmCounts(arm.requests_n, arm.units_n, arm.runs_n, arm.withheld_n, arm.events)
              for name, arm in ((NEW, new), (OLD, old))}  # fmt: skip
    epoch = Epoch(number, step, {NEW: ppm, OLD: WHOLE_PPM - ppm}, counts)
    return Seen(epoch, ((new.raw_bad_n, new.requests_n), (old.raw_bad_n, old.requests_n)))


def split(rng: np.random.Generator, requests_n: int, share: float) -> tuple[int, int]:
    """How many requests each arm gets."""
    new_n = int(rng.binomial(requests_n, share))
    return new_n, requests_n - new_n


def requests_of(each: Seen) -> int:
    """Requests of both arms."""
    return each.plain[0][1] + each.plain[1][1]


def plainly(rng: np.random.Generator, requests_n: int, rate: float, metric: str = ERROR_RATE) -> Arm:
    """An arm whose requests are bad independently; each is a unit of its own."""
    bad_n = int(rng.binomial(requests_n, rate))
    return Arm(requests_n, {metric: bad_n}, bad_n, units_n=requests_n)


def rule_with(form: Form, *, metric: str = ERROR_RATE, alpha: float = 0.05, ratio: float = 1.5) -> Rule:
    return Rule(candidate=NEW, baseline=OLD, bounds=(Bound(metric=metric, form=form, ratio=ratio),), alpha=alpha)


def rolls_back(rule: Rule, stream: Iterable[Seen]) -> bool:
    """Whether the rule ever condemns."""
    evidence = start(rule)
    for each in stream:
        evidence = fold(rule, evidence, each.epoch)
        if judge(rule, evidence).verdict is Verdict.FAIL:
            return True
    return False


def first_crossings(rule: Rule, stream: Iterable[Seen], levels: tuple[float, ...], *, safe: bool = False) -> list[Seen]:
    """The epochs in which ln E reaches each of the levels, given in rising order; of harm, or else of safety."""
    evidence, found = start(rule), []
    for each in stream:
        evidence = fold(rule, evidence, each.epoch)
        (reading,) = judge(rule, evidence).readings
        log_e = reading.log_e_safe if safe else reading.log_e
        while len(found) < len(levels) and log_e >= levels[len(found)]:
            found.append(each)
        if len(found) == len(levels):
            break
    return found
