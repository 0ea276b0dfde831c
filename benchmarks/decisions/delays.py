"""How soon a worse candidate is condemned, and a good one proven, beside what the method promises.

Numbers promised are medians of requests of both arms, from simulations of the plain test that looks after every
request. Ours begins again from time to time and looks at the end of epochs; here an epoch has a fortieth of the
promised number, so that the figures are the method's and not the clock's.
"""

from collections.abc import Iterator
from math import log
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.decisions.streams import (
    Arm,
    Seen,
    first_crossings,
    plainly,
    requests_of,
    rule_with,
    seen,
    split,
)
from strategies.evidence.epochs import ERROR_RATE, LATENCY_METRICS
from strategies.evidence.rule import Form

LEVELS = (log(20), log(100))  # alpha 5 % and 1 %
LOOKS_N = 40  # epochs in the promised time
PATIENCE = 12  # times the promised time, after which a run counts as endless
WARM_UP_N = 2000


class Case(NamedTuple):
    """A change, and the promised medians at alpha 5 % and, if known, 1 %."""

    name: str
    share: float
    promised: tuple[int, ...]
    rates: tuple[float, float] = (0.0, 0.0)  # baseline's, candidate's
    form: Form = Form.EVENTS


def errors(old: float, new: float, promised: dict[float, tuple[int, ...]]) -> list[Case]:
    return [Case(f"errors {old:.1%} to {new:.1%}", share, each, (old, new)) for share, each in promised.items()]


ERRORS = [
    *errors(0.01, 0.02, {0.5: (3598, 5755), 0.1: (9230, 14888), 0.05: (16936, 27382), 0.01: (85679, 137004)}),
    *errors(0.01, 0.015, {0.5: (13198, 19800), 0.1: (30512, 47620), 0.05: (59423, 97017), 0.01: (320314, 482328)}),
    *errors(0.01, 0.05, {0.5: (431, 650), 0.1: (976, 1536), 0.05: (1794, 2674), 0.01: (8940, 13224)}),
    *errors(0.001, 0.002, {0.5: (34045, 56561), 0.1: (89836, 147142), 0.05: (174674, 280258), 0.01: (840724,)}),
    *errors(0.001, 0.01, {0.5: (1628, 2421), 0.1: (3476, 5446), 0.05: (6496, 9275), 0.01: (26592, 40345)}),
    *errors(0.05, 0.06, {0.5: (14380, 23635), 0.1: (40217, 62197), 0.05: (78591, 128100)}),
]
BLOCKS = [
    Case("errors 1.0% to 2.0%, blocks of 200", share, (promised,), (0.01, 0.02), Form.BLOCKS)
    for share, promised in ((0.5, 6000), (0.1, 15900), (0.05, 33900))
]


class Slower(NamedTuple):
    """A candidate whose durations are lognormal; those beyond the quantile `beyond` are `times` as long."""

    name: str
    share: float
    promised: tuple[int, ...]
    sigma: float
    times: float
    beyond: float = 0.0


LATENCY = [
    *(
        Slower("all 20 % slower, sigma 0.5", share, (n,), 0.5, 1.2)
        for share, n in ((0.5, 655), (0.1, 1440), (0.05, 2315))
    ),
    *(
        Slower("all 20 % slower, sigma 1", share, (n,), 1.0, 1.2)
        for share, n in ((0.5, 2599), (0.1, 6679), (0.05, 11224))
    ),
    *(
        Slower("only the tail: 1 to 2 % beyond p99", share, (n,), 0.5, 1.15, 0.95)
        for share, n in ((0.5, 4858), (0.1, 13427), (0.05, 28050))
    ),
]


class Late(NamedTuple):
    """1 to 2 % errors that begin after so many requests; what plain and restarted tests need from then on."""

    share: float
    onset_n: int
    plain: int
    promised: int


LATE = [
    *(Late(0.5, *each) for each in ((0, 3276, 3906), (5000, 6528, 4598), (10000, 8338, 5636), (30000, 12816, 8225))),
    *(
        Late(0.05, *each)
        for each in ((0, 16618, 18066), (5000, 24552, 20554), (10000, 23983, 20810), (30000, 32448, 28155))
    ),
]


class Proof(NamedTuple):
    """An equal candidate that is to be proven less than `ratio` times as bad: bad events needed."""

    ratio: float
    share: float
    promised: int


PROOFS = [
    Proof(ratio, share, promised)
    for ratio, each in {1.25: (429, 590, 1104), 1.5: (119, 147, 286), 2.0: (39, 48, 84), 3.0: (16, 19, 29)}.items()
    for share, promised in zip((0.5, 0.25, 0.1), each, strict=True)
]


def changed(
    rng: np.random.Generator, share: float, rates: tuple[float, float], epoch_n: int, calm_n: int = 0
) -> Iterator[Seen]:
    """Epochs of `epoch_n` requests; the candidate has the baseline's rate for the first `calm_n` requests."""
    number = 0
    while True:
        new_n, old_n = split(rng, epoch_n, share)
        rate = rates[0] if number * epoch_n < calm_n else rates[1]
        yield seen(number, share, plainly(rng, new_n, rate), plainly(rng, old_n, rates[0]))
        number += 1


def slowed(rng: np.random.Generator, case: Slower, epoch_n: int) -> Iterator[Seen]:
    """Events are durations beyond the p50, p90, p99 of so many requests before."""
    thresholds = np.quantile(rng.lognormal(0, case.sigma, WARM_UP_N), (0.5, 0.9, 0.99))
    tail = np.quantile(rng.lognormal(0, case.sigma, 200_000), case.beyond) if case.beyond else 0.0
    number = 0
    while True:
        arms = []
        for requests_n, times in zip(split(rng, epoch_n, case.share), (case.times, 1.0), strict=True):
            took = rng.lognormal(0, case.sigma, requests_n)
            took = np.where(took > tail, took * times, took)
            events = {metric: int((took > t).sum()) for metric, t in zip(LATENCY_METRICS, thresholds, strict=True)}
            arms.append(Arm(requests_n, events, 0, units_n=requests_n))
        yield seen(number, case.share, *arms)
        number += 1


def requests_until(stream: Iterator[Seen], form: Form, limit_n: float, metric: str = ERROR_RATE) -> list[float]:
    """Requests of both arms until each level is reached; infinity where that takes more than `limit_n`."""
    seen_n, found = 0, []
    ends = {}

    def counted() -> Iterator[Seen]:
        nonlocal seen_n
        for each in stream:
            seen_n += requests_of(each)
            ends[each.epoch.number] = seen_n
            yield each
            if seen_n > limit_n:
                return

    found = first_crossings(rule_with(form, metric=metric), counted(), LEVELS)
    return [ends[each.epoch.number] for each in found] + [float("inf")] * (len(LEVELS) - len(found))


def one_error(case: Case, rng: np.random.Generator) -> list[float]:
    """One run of a case."""
    epoch_n = 200 if case.form is Form.BLOCKS else max(round(case.promised[0] / LOOKS_N), 1)
    return requests_until(changed(rng, case.share, case.rates, epoch_n), case.form, PATIENCE * case.promised[-1])


def one_latency(case: Slower, rng: np.random.Generator) -> list[float]:
    epoch_n = max(round(case.promised[0] / LOOKS_N), 1)
    return requests_until(slowed(rng, case, epoch_n), Form.EVENTS, PATIENCE * case.promised[-1], "latency")


def one_late(case: Late, rng: np.random.Generator) -> list[float]:
    """From the onset on; infinity where it never comes, minus infinity where an alarm came before there was cause."""
    stream = changed(rng, case.share, (0.01, 0.02), 200, case.onset_n)
    first = requests_until(stream, Form.EVENTS, case.onset_n + PATIENCE * case.promised)[0]
    return [first - case.onset_n if first > case.onset_n else -float("inf")]


def one_proof(case: Proof, rng: np.random.Generator) -> list[float]:
    """Bad events of both arms until a candidate that is equal is proven safe at beta 5 %."""
    bad_n, ends = 0, {}

    def counted() -> Iterator[Seen]:
        nonlocal bad_n
        for each in changed(rng, case.share, (0.01, 0.01), max(round(case.promised * 100 / LOOKS_N), 1)):
            bad_n += each.plain[0][0] + each.plain[1][0]
            ends[each.epoch.number] = bad_n
            yield each
            if bad_n > PATIENCE * case.promised:
                return

    found = first_crossings(rule_with(Form.EVENTS, ratio=case.ratio), counted(), LEVELS[:1], safe=True)
    return [ends[found[0].epoch.number] if found else float("inf")]


class Death(NamedTuple):
    """A candidate that fails wholly from a moment on: 200 requests a second, epochs of ten seconds."""

    share: float
    form: Form
    calm_s: float


DEATHS = [
    Death(share, form, calm_s)
    for form in (Form.EVENTS, Form.AUTO)
    for share in (0.5, 0.05, 0.01)
    for calm_s in (0, 600)
]


def one_death(case: Death, rng: np.random.Generator) -> list[float]:
    """Seconds from the moment until the end of the epoch that convicts, at alpha 1 %."""
    dies_s = case.calm_s + rng.uniform(0, 10)

    def stream() -> Iterator[Seen]:
        for number in range(int(dies_s / 10) + 100):
            new_n, old_n = split(rng, 2000, case.share)
            dead_n = int(rng.binomial(new_n, min(max((number + 1) - dies_s / 10, 0), 1)))
            bad_n = dead_n + int(rng.binomial(new_n - dead_n, 0.01))
            yield seen(number, case.share, Arm(new_n, {ERROR_RATE: bad_n}, bad_n, new_n), plainly(rng, old_n, 0.01))

    rule = rule_with(case.form, alpha=0.01)
    found = first_crossings(rule, stream(), (rule.condemns_at,))
    return [(found[0].epoch.number + 1) * 10 - dies_s if found else float("inf")]


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def middle(values: list[float]) -> float:
    """The median of the runs without an alarm before there was cause."""
    return median([value for value in values if value >= 0] or [float("nan")])
