"""Ends of serving processes condemn a candidate under which all of them came, and nobody else."""

import pytest

from strategies.evidence.deaths import Deaths, with_deaths
from strategies.evidence.epochs import WORKER_DEATHS
from strategies.evidence.rule import Verdict, fold, judge, start
from tests.strategies.evidence.streams import arm, epoch, folded, rule_of

LOST = ("host:8000: process 7 ended before it had told all",)


def death(number: int, new_n: int = 0, old_n: int = 0, share: float = 0.1):
    return epoch(number, arm(50, new_n, WORKER_DEATHS), arm(450, old_n, WORKER_DEATHS), share=share, lost=LOST)


@pytest.mark.parametrize(("share", "needed_n"), [(0.01, 3), (0.05, 3), (0.2, 3), (0.3, 4), (0.5, 7)])
def test_so_many_condemn_as_an_innocent_candidate_meets_with_a_chance_of_alpha(share, needed_n):
    deaths = Deaths()
    for _ in range(needed_n - 1):
        deaths = with_deaths(deaths, 1, 0, share)
    assert not deaths.condemns(0.01)
    assert with_deaths(deaths, 1, 0, share).condemns(0.01)
    assert needed_n == 3 or 0.01 < share ** (needed_n - 1)


def test_one_end_under_the_baseline_speaks_for_another_cause():
    deaths = with_deaths(Deaths(), 0, 1, 0.05)
    assert not with_deaths(deaths, 50, 0, 0.05).condemns(0.01)


def test_ends_under_the_candidate_take_it_back_though_their_epochs_have_lost_counts():
    rule = rule_of()
    found = judge(rule, folded(rule, [death(1, 1), death(2, 2)]))
    assert (Verdict.FAIL, WORKER_DEATHS) == (found.verdict, found.guardrail)
    assert "3 serving processes ended while it was run, none under the baseline" == found.why


def test_ends_under_the_baseline_alone_take_nobody_back():
    rule = rule_of()
    evidence = start(rule)
    for number in range(1, 50):
        evidence = fold(rule, evidence, death(number, old_n=1))
        assert judge(rule, evidence).verdict is Verdict.HALT


def test_a_candidate_that_looks_as_if_it_kills_climbs_no_further():
    rule = rule_of()
    calm = [epoch(number, arm(500), arm(4500), share=0.1) for number in range(3, 9)]
    found = judge(rule, folded(rule, [death(1, 2), *calm]))
    assert (Verdict.UNSURE, WORKER_DEATHS) == (found.verdict, found.guardrail)


def test_where_the_candidate_has_everything_no_end_can_be_compared():
    rule = rule_of()
    assert judge(rule, folded(rule, [death(1, 9, share=1.0)])).verdict is Verdict.HALT
