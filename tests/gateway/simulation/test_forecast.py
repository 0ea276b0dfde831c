"""How long harm and its absence take, against published medians and the kernels themselves."""

import random
from statistics import median

import pytest

from gateway.simulation.forecast import Stay, Stream, wait_to_catch, wait_to_prove
from strategies.evidence.bounds import Bound, Form, Rule
from strategies.evidence.restarts import extended, log_e, opened
from strategies.evidence.share_test import HARM_RATIOS, gained

STREAM = Stream(requests_per_s=200.0, error_rate=0.01)


def rule(alpha: float = 0.01, **bound: object) -> Rule:
    errors = Bound(metric="error_rate", **{"form": Form.EVENTS, **bound})
    return Rule(candidate="new", baseline="old", bounds=(errors,), alpha=alpha)


@pytest.mark.parametrize(
    ("alpha", "share", "requests"),
    [
        (0.05, 0.5, 3_598),
        (0.05, 0.1, 9_230),
        (0.05, 0.05, 16_936),
        (0.05, 0.01, 85_679),
        (0.01, 0.5, 5_755),
        (0.01, 0.1, 14_888),
        (0.01, 0.05, 27_382),
        (0.01, 0.01, 137_004),
    ],
)
def test_a_doubling_of_one_percent_takes_as_long_as_published(alpha, share, requests):
    """Medians of requests within a fifth; restarts, which the published test lacks, cost most of what is missing."""
    watched = rule(alpha)
    assert wait_to_catch(watched, watched.bounds[0], share, STREAM).requests == pytest.approx(requests, rel=0.2)


@pytest.mark.parametrize(
    ("margin", "share", "events"),
    [
        (1.25, 0.5, 429), (1.25, 0.25, 590), (1.25, 0.1, 1_104), (1.5, 0.5, 119), (1.5, 0.25, 147), (1.5, 0.1, 286),
        (2.0, 0.5, 39), (2.0, 0.25, 48), (2.0, 0.1, 84), (3.0, 0.5, 16), (3.0, 0.25, 19), (3.0, 0.1, 29),
    ],
)  # fmt: skip
def test_proving_that_nothing_is_wrong_takes_as_long_as_published(margin, share, events):
    watched = rule(ratio=margin)
    found = wait_to_prove(watched, watched.bounds[0], share, STREAM)
    assert found.requests == pytest.approx(events / 0.01, rel=0.2)


def test_the_forecast_is_that_of_the_judges_own_test():
    """The same stream of events through the kernel itself, one after the other."""
    watched, share = rule(0.05), 0.1
    chance, events_n = random.Random(7), []
    for _ in range(300):
        test, n = opened(len(HARM_RATIOS)), 0
        while log_e(test) < watched.condemns_at:
            hit = chance.random() < 2 * share / (2 * share + 1 - share)
            test, n = extended(test, gained((hit, not hit), share, HARM_RATIOS, 1.0), 1), n + 1
        events_n.append(n)
    found = wait_to_catch(watched, watched.bounds[0], share, STREAM)

    assert found.requests == pytest.approx(median(events_n) / (0.01 * (1 + share)), rel=0.15)


def test_more_guardrails_and_the_automatic_form_take_longer():
    one = rule()
    four = Rule(candidate="new", baseline="old", bounds=one.bounds * 4)
    automatic = rule(form=Form.AUTO)
    waits = [wait_to_catch(each, each.bounds[0], 0.1, STREAM).requests for each in (one, automatic, four)]
    assert waits == sorted(waits)
    assert waits[0] < waits[1] < waits[2]


def test_time_is_told_to_the_end_of_the_epoch_that_decides():
    watched = rule(0.05)
    found = wait_to_catch(watched, watched.bounds[0], 0.5, STREAM)
    assert 0 <= found.seconds - found.requests / 200 < 10
    assert found.seconds % 10 == 0


def test_what_earlier_steps_have_shown_counts():
    watched = rule(ratio=1.5)
    alone = wait_to_prove(watched, watched.bounds[0], 0.5, STREAM)
    after = wait_to_prove(watched, watched.bounds[0], 0.5, STREAM, stays=(Stay(0.25, 30.0),))
    long_after = wait_to_prove(watched, watched.bounds[0], 0.5, STREAM, stays=(Stay(0.25, 3600.0),))

    assert after.requests < alone.requests
    assert long_after.requests < 200


def test_a_rate_that_is_nearly_nothing_is_proven_by_the_candidates_own():
    """Zero of 1,000 bound the rate by 0.41 %, zero of 500 by 1 %."""
    watched = rule(rate=0.01)
    found = wait_to_prove(watched, watched.bounds[0], 0.1, Stream(200.0, 1e-6))
    assert found.requests == pytest.approx(500 / 0.1, rel=0.1)


def test_what_can_never_be_proven_has_no_time():
    watched = rule(limit=0.005)
    assert wait_to_prove(watched, watched.bounds[0], 0.1, STREAM) is None
    assert wait_to_catch(watched, watched.bounds[0], 0.1, STREAM) is None
