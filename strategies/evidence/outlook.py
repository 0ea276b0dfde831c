"""How much more a rule has to see until it can say that a candidate is no worse, if the candidate is no worse."""

from math import ceil, log

from strategies.evidence.bounds import Bound, Form, Rule
from strategies.evidence.rates import upper_bound
from strategies.evidence.rule import Judgement, Reading
from strategies.evidence.share_test import SAFE_RATIOS, gained

GROWTH = 1.1  # between two numbers of requests at which the exact bound is looked at
LARGEST_N = 100_000_000


def requests_missing(rule: Rule, judgement: Judgement, share: float) -> int | None:
    """Requests of both arms until every bound is proven kept, at the rates seen so far; None if that is never.

    `share` is the candidate's of both arms' requests.
    """
    found = [ceil(judgement.missing_n / share)]
    for bound, reading in zip(rule.bounds, judgement.readings, strict=True):
        if not reading.is_safe:
            missing = _missing(rule, bound, reading, share)
            if missing is None:
                return None
            found.append(missing)
    return max(found)


def _missing(rule: Rule, bound: Bound, reading: Reading, share: float) -> int | None:
    ways = [_by_ratio(rule, bound, reading, share), _by_rate(rule, bound, reading, share)]
    return min((way for way in ways if way is not None), default=None)


def _by_ratio(rule: Rule, bound: Bound, reading: Reading, share: float) -> int | None:
    """By bad events: each is worth what it is on average if the arms are alike."""
    bad_n = sum(count.events_n for count in (*reading.candidate, *reading.baseline))
    of_n = sum(count.of_n for count in (*reading.candidate, *reading.baseline))
    if bound.limit is not None or not bad_n:
        return None
    thetas = [ratio * bound.tolerated for ratio in SAFE_RATIOS]
    ours, theirs = (gained(event, share, thetas, bound.ratio) for event in ((1, 0), (0, 1)))
    worth = max(share * one + (1 - share) * other for one, other in zip(ours, theirs, strict=True))
    if worth <= 0:
        return None
    stake = log(2) if bound.form == Form.AUTO else 0.0
    wanted = rule.proves_at + stake + log(len(SAFE_RATIOS)) - (reading.log_e_safe + stake)
    return ceil(max(wanted, worth) / worth * of_n / bad_n)


def _by_rate(rule: Rule, bound: Bound, reading: Reading, share: float) -> int | None:
    """By the candidate's own rate, where that lies below what the bound allows."""
    below = bound.limit if bound.limit is not None else bound.rate
    (count,) = reading.candidate if len(reading.candidate) == 1 else (None,)
    if below is None or count is None or count.rate >= below:
        return None
    size = max(count.of_n, 30)
    while size < LARGEST_N:
        if upper_bound(round(count.rate * size), size, rule.beta) < below:
            return ceil(max(size - count.of_n, 1) / share)
        size = ceil(size * GROWTH)
    return None
