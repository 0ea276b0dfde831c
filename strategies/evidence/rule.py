"""The rule: what the evidence says of a candidate, at every moment, with one promise about error for the whole rollout.

    start(rule)                      nothing is known
    fold(rule, evidence, epoch)      another closed epoch, in order of (number, step): pure, constant work
    judge(rule, evidence)            what that says

    FAIL    a bound is proven broken, or the candidate gave invalid output to three requests and the baseline to none,
            or so many serving processes ended while it was run, and none while the baseline was
    HALT    the arms cannot be compared now: units are not shared out as promised, the gateway itself refuses requests,
            or counts were lost
    PROVEN  every bound is proven kept          CLEAR   enough requests on this step, and no warning
    UNSURE  otherwise

E >= (number of bounds) / alpha of any bound condemns. That is not kept here: the rollout's state is what latches.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from math import log

from msgspec import Struct, field
from msgspec.structs import replace

from strategies.evidence.blocks import Count
from strategies.evidence.bounds import Bound, Form, Rule
from strategies.evidence.copies import Copies, compared
from strategies.evidence.deaths import Deaths, with_deaths
from strategies.evidence.epochs import INVALID_OUTPUT, RUN_ERRORS, WORKER_DEATHS, ArmCounts, Epoch
from strategies.evidence.series import (
    Chance,
    Series,
    begun,
    crowded,
    followed,
    form_of,
    harm_log_e,
    is_safe,
    safe_log_e,
)
from strategies.evidence.share_test import log_mean
from strategies.evidence.units import Mismatch, met

__all__ = [
    "Bound", "Count", "Evidence", "Form", "Judgement", "Reading", "Rule", "Verdict", "fold", "judge", "start",
]  # fmt: skip

INVALID_N = 3
PRESSURE = 0.05  # share of an arm's requests withheld in the latest epoch, from which on nothing is decided
UNEVEN = 0.01  # share of the baseline's withheld, above the candidate's, from which on an epoch is no evidence
NO_COUNTS = ArmCounts()


class Verdict(StrEnum):
    """What the evidence says."""

    FAIL = "fail"
    HALT = "halt"
    UNSURE = "unsure"
    CLEAR = "clear"
    PROVEN = "proven"


class Evidence(Struct, frozen=True):
    """Everything a verdict depends on, as a value that can be kept, compared and sent.

    `requests_n` are the candidate's by step, `series` one per metric of each bound. `epoch` and `step` are the latest;
    `is_pressed` and `is_lossy` are of that epoch.
    """

    series: tuple[tuple[Series, ...], ...]
    epoch: int = -1
    step: int = 0
    epochs_n: int = 0  # records that were evidence
    passed_over_n: int = 0  # records that were not: lost counts, or requests withheld unevenly
    requests_n: Mapping[int, int] = field(default_factory=dict)
    mismatch: Mismatch = Mismatch()
    invalid: tuple[int, int] = (0, 0)  # candidate's, baseline's
    copies: Copies = Copies()  # a baseline that is a copy, beside its rest
    deaths: Deaths = Deaths()
    is_pressed: bool = False
    is_lossy: bool = False


class Reading(Struct, frozen=True):
    """One bound: what speaks against the candidate, and for it."""

    metric: str
    form: Form
    log_e: float  # against "the bound is kept"
    log_e_safe: float  # against "the margin is reached"
    candidate: tuple[Count, ...]  # one per metric of the bound
    baseline: tuple[Count, ...]
    is_broken: bool
    is_warned: bool
    is_safe: bool
    limit: float | None = None  # what the candidate's own rate is held against, where it is not the baseline's

    @property
    def ratio(self) -> float | None:
        """The candidate's rate over the baseline's, summed over the bound's metrics; None where the latter is 0."""
        baseline = sum(count.rate for count in self.baseline)
        return sum(count.rate for count in self.candidate) / baseline if baseline else None


class Judgement(Struct, frozen=True):
    """The verdict, why in words, and what it rests on. `missing_n` candidate requests are missing on this step."""

    verdict: Verdict
    why: str
    readings: tuple[Reading, ...]
    missing_n: int
    guardrail: str = ""  # the bound that is broken, or warned of
    srm_log_e: float = 0.0  # the highest so far


def start(rule: Rule) -> Evidence:
    return Evidence(tuple(tuple(begun() for _ in bound.metrics) for bound in rule.bounds))


def fold(rule: Rule, evidence: Evidence, epoch: Epoch) -> Evidence:
    """The evidence with one more epoch. Order within an epoch is gone already; epochs come in order."""
    candidate, baseline = _arm(epoch, rule.candidate), _arm(epoch, rule.baseline)
    is_same = epoch.number == evidence.epoch
    is_evidence = not epoch.lost and not _is_uneven(candidate, baseline)
    seen = replace(
        evidence,
        epoch=epoch.number,
        step=epoch.step,
        is_pressed=(is_same and evidence.is_pressed) or max(map(_withheld, (candidate, baseline))) > PRESSURE,
        is_lossy=(is_same and evidence.is_lossy) or bool(epoch.lost),
        invalid=(evidence.invalid[0] + _invalid(candidate), evidence.invalid[1] + _invalid(baseline)),
        deaths=_fold_deaths(rule, evidence.deaths, epoch),
        passed_over_n=evidence.passed_over_n + (not is_evidence),
    )
    if not is_evidence:
        return seen
    on_step = evidence.requests_n.get(epoch.step, 0) + candidate.requests_n
    return replace(
        seen,
        series=tuple(_fold_bound(rule, number, evidence, epoch) for number in range(len(rule.bounds))),
        epochs_n=evidence.epochs_n + 1,
        requests_n={**evidence.requests_n, epoch.step: on_step},
        copies=compared(evidence.copies, epoch, rule.baseline, rule.rest) if rule.rest else evidence.copies,
        mismatch=met(
            evidence.mismatch, epoch.shares_ppm, {name: counts.units_n for name, counts in epoch.arms.items()}
        ),
    )


def judge(rule: Rule, evidence: Evidence) -> Judgement:
    """What the evidence says now."""
    readings = tuple(_read(rule, bound, series) for bound, series in zip(rule.bounds, evidence.series, strict=True))
    missing_n = max(rule.n_min - evidence.requests_n.get(evidence.step, 0), 0)
    verdict, why, guardrail = next(_findings(rule, evidence, readings, missing_n))
    return Judgement(verdict, why, readings, missing_n, guardrail, evidence.mismatch.highest)


def _findings(
    rule: Rule, evidence: Evidence, readings: tuple[Reading, ...], missing_n: int
) -> Iterator[tuple[Verdict, str, str]]:
    """What holds, the weightiest first: verdict, why, and which guardrail it is about."""
    if evidence.mismatch.highest >= -log(rule.srm_alpha):
        yield Verdict.HALT, "the arms do not get the units that their shares promise", "srm"
    yield from _triggered(rule, evidence)
    if broken := _worst(reading for reading in readings if reading.is_broken):
        yield Verdict.FAIL, f"{broken.metric} is proven worse than its bound", broken.metric
    if evidence.is_lossy:
        yield Verdict.HALT, "counts of the latest epoch were lost", ""
    if evidence.is_pressed:
        yield Verdict.HALT, "the gateway itself refuses requests", ""
    if evidence.deaths.log_e >= rule.warns_at:
        yield Verdict.UNSURE, _death_words(evidence), WORKER_DEATHS
    if warned := _worst(reading for reading in readings if reading.is_warned):
        yield Verdict.UNSURE, f"{warned.metric} looks worse than its bound", warned.metric
    if missing_n:
        yield Verdict.UNSURE, f"{missing_n:,} more requests of the candidate are needed on this step", ""
    if all(reading.is_safe for reading in readings):
        yield Verdict.PROVEN, "every bound is proven kept", ""
    yield Verdict.CLEAR, "no bound looks broken", ""


def _triggered(rule: Rule, evidence: Evidence) -> Iterator[tuple[Verdict, str, str]]:
    """What condemns beside the bounds."""
    if evidence.invalid[0] >= INVALID_N and not evidence.invalid[1]:
        yield Verdict.FAIL, f"{evidence.invalid[0]} invalid outputs, and none of the baseline", INVALID_OUTPUT
    if evidence.deaths.condemns(rule.alpha):
        yield Verdict.FAIL, _death_words(evidence), WORKER_DEATHS


def _death_words(evidence: Evidence) -> str:
    deaths = evidence.deaths
    baseline = f"{deaths.baseline_n or 'none'} under the baseline"
    return f"{deaths.candidate_n} serving processes ended while it was run, {baseline}"


def _read(rule: Rule, bound: Bound, series: tuple[Series, ...]) -> Reading:
    log_e = log_mean([harm_log_e(rule, bound, each) for each in series])
    return Reading(
        bound.metric,
        Form.BLOCKS if any(form_of(bound, each) == Form.BLOCKS for each in series) else Form.EVENTS,
        log_e,
        min(safe_log_e(rule, bound, each) for each in series),
        tuple(each.candidate for each in series),
        tuple(each.baseline for each in series),
        log_e >= rule.condemns_at,
        log_e >= rule.warns_at,
        all(is_safe(rule, bound, each) for each in series),
        bound.limit,
    )


def _fold_bound(rule: Rule, number: int, evidence: Evidence, epoch: Epoch) -> tuple[Series, ...]:
    bound, passed_n = rule.bounds[number], epoch.number - evidence.epoch if evidence.epoch >= 0 else 1
    return tuple(
        _fold_metric(rule, bound, (metric, series), epoch, passed_n)
        for metric, series in zip(bound.metrics, evidence.series[number], strict=True)
    )


def _fold_metric(rule: Rule, bound: Bound, of: tuple[str, Series], epoch: Epoch, passed_n: int) -> Series:
    metric, series = of
    counts = (_count(metric, _arm(epoch, rule.candidate)), _count(metric, _arm(epoch, rule.baseline)))
    chance = _chance(rule, metric, epoch)
    if chance is None:
        return series
    if metric in epoch.crowded and bound.limit is None:
        return crowded(series, counts)
    return followed(rule, bound, series, counts, chance, epochs_n=passed_n)


def _chance(rule: Rule, metric: str, epoch: Epoch) -> Chance | None:
    """Whose a bad event is if the arms are equal. None while one of them gets nothing."""
    candidate, baseline = _arm(epoch, rule.candidate), _arm(epoch, rule.baseline)
    if metric == RUN_ERRORS:
        weights = (candidate.runs_n, baseline.runs_n)
        return _exactly(*weights) if all(weights) else None
    shares = (epoch.shares_ppm.get(rule.candidate, 0), epoch.shares_ppm.get(rule.baseline, 0))
    if not all(shares):
        return None
    assigned = _exactly(*shares).most
    tried = (shares[0] * (1 - _withheld(candidate)), shares[1] * (1 - _withheld(baseline)))
    left = _exactly(*tried).most if all(tried) else assigned
    return Chance(max(assigned, left), min(assigned, left))


def _fold_deaths(rule: Rule, deaths: Deaths, epoch: Epoch) -> Deaths:
    """Also of an epoch that lost counts, as each does in which a process ended."""
    counts = tuple(_arm(epoch, name).events.get(WORKER_DEATHS, 0) for name in (rule.candidate, rule.baseline))
    if not any(counts):
        return deaths
    chance = _chance(rule, WORKER_DEATHS, epoch)
    return with_deaths(deaths, counts[0], counts[1], chance.most if chance else 1.0)


def _exactly(candidate: float, baseline: float) -> Chance:
    share = candidate / (candidate + baseline)
    return Chance(share, share)


def _arm(epoch: Epoch, name: str) -> ArmCounts:
    return epoch.arms.get(name, NO_COUNTS)


def _count(metric: str, arm: ArmCounts) -> Count:
    return Count(arm.events.get(metric, 0), arm.runs_n if metric == RUN_ERRORS else arm.requests_n)


def _invalid(arm: ArmCounts) -> int:
    return arm.events.get(INVALID_OUTPUT, 0)


def _withheld(arm: ArmCounts) -> float:
    """The share of an arm's requests that the gateway itself refused."""
    return arm.withheld_n / (arm.withheld_n + arm.requests_n) if arm.withheld_n else 0.0


def _is_uneven(candidate: ArmCounts, baseline: ArmCounts) -> bool:
    """Whether more of the baseline's requests are missing: then its bad events are, and equal arms look unequal."""
    return _withheld(baseline) - _withheld(candidate) > UNEVEN


def _worst(readings: Iterable[Reading]) -> Reading | None:
    return max(readings, key=lambda reading: reading.log_e, default=None)
