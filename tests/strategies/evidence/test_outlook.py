"""How much more a rule has to see: about as much as it then turns out to need."""

import random
from statistics import median

import pytest

from strategies.evidence.epochs import ERROR_RATE, ArmCounts, Epoch
from strategies.evidence.outlook import requests_missing
from strategies.evidence.rule import Bound, Form, Rule, Verdict, fold, judge, start

SHARES = {"new": 500_000, "old": 500_000}


def rule(**bound: object) -> Rule:
    errors = Bound(metric=ERROR_RATE, **{"form": Form.EVENTS, "ratio": 2.0, **bound})
    return Rule(candidate="new", baseline="old", bounds=(errors,))


def epoch(number: int, new: tuple[int, int], old: tuple[int, int]) -> Epoch:
    arms = {name: ArmCounts(n, n, events={ERROR_RATE: bad}) for name, (n, bad) in (("new", new), ("old", old))}
    return Epoch(number, 0, SHARES, arms)


def missing_after(watched: Rule, *epochs: Epoch) -> int | None:
    evidence = start(watched)
    for each in epochs:
        evidence = fold(watched, evidence, each)
    return requests_missing(watched, judge(watched, evidence), 0.5)


def test_at_first_it_is_what_a_step_needs():
    assert missing_after(rule(rate=0.5)) >= 600


def test_what_is_missing_is_about_what_it_then_takes():
    """Medians of twenty streams of an arm that is as good as the other, forecast after 2,000 requests."""
    forecasts, truths = [], []
    for seed in range(20):
        chance, watched = random.Random(seed), rule()
        evidence, number, needed = start(watched), 0, None
        while needed is None:
            counts = [(100, sum(chance.random() < 0.02 for _ in range(100))) for _ in range(2)]
            evidence = fold(watched, evidence, epoch(number, *counts))
            number += 1
            judgement = judge(watched, evidence)
            if number == 10:
                forecasts.append(requests_missing(watched, judgement, 0.5))
            if judgement.verdict is Verdict.PROVEN and number >= 10:
                needed = number
        truths.append((needed - 10) * 200)
    assert median(forecasts) == pytest.approx(median(truths), rel=1.0)
    assert min(forecasts) >= 0


def test_it_gets_less_as_evidence_comes():
    quiet = [epoch(number, (1_000, 10), (1_000, 10)) for number in range(3)]
    watched = rule()
    found = [missing_after(watched, *quiet[:count]) for count in (1, 2, 3)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[2]


def test_without_a_single_error_the_candidates_own_rate_is_what_can_be_proven():
    """Zero of 500 bound a rate by 1 %."""
    missing = missing_after(rule(rate=0.01), epoch(0, (100, 0), (100, 0)))
    assert missing == pytest.approx(2 * 400, rel=0.2)


def test_what_can_never_be_proven_is_not_promised():
    assert missing_after(rule(limit=0.01), epoch(0, (1_000, 30), (1_000, 10))) is None
    assert missing_after(rule(), epoch(0, (1_000, 0), (1_000, 0))) is None
