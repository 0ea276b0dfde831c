"""Epochs as tests write them: counts of two arms, `new` against `old`."""

from strategies.evidence.epochs import ERROR_RATE, ArmCounts, Epoch
from strategies.evidence.rule import Bound, Evidence, Form, Rule, fold, start

WHOLE_PPM = 1_000_000


def rule_of(*bounds: Bound, **terms) -> Rule:
    return Rule(candidate="new", baseline="old", bounds=bounds or (events_bound(),), **terms)


def events_bound(metric: str = ERROR_RATE, **terms) -> Bound:
    return Bound(metric=metric, **{"form": Form.EVENTS, **terms})


def arm(requests_n: int = 0, bad_n: int = 0, metric: str = ERROR_RATE, **counts) -> ArmCounts:
    units_n = counts.pop("units_n", 0)
    return ArmCounts(requests_n, units_n, events={metric: bad_n} if bad_n else {}, **counts)


def epoch(
    number: int,
    new: ArmCounts,
    old: ArmCounts,
    *,
    share: float = 0.5,
    step: int = 0,
    lost: tuple[str, ...] = (),
    crowded: tuple[str, ...] = (),
) -> Epoch:
    ppm = round(share * WHOLE_PPM)
    return Epoch(number, step, {"new": ppm, "old": WHOLE_PPM - ppm}, {"new": new, "old": old}, lost, crowded)


def folded(rule: Rule, epochs: list[Epoch], evidence: Evidence | None = None) -> Evidence:
    evidence = evidence or start(rule)
    for one in epochs:
        evidence = fold(rule, evidence, one)
    return evidence
