"""How long a rule takes: until it catches a candidate that is twice as bad, until it has proven one that is as good.

Both are medians over simulated streams of bad events, seeded, with the judge's own likelihood ratios. Only bad events
move a judge, and each is the candidate's with a chance that its share and its rate give; the time between two of them
is that of a Poisson process. So a run costs as many steps as it has bad events, not requests.
"""

from collections.abc import Sequence
from math import ceil, exp, log

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from strategies.evidence.bounds import Bound, Form, Rule
from strategies.evidence.epochs import EPOCH_S
from strategies.evidence.rates import upper_bound
from strategies.evidence.restarts import EVENTS_BETWEEN
from strategies.evidence.series import EPOCHS_TO_CONVICT
from strategies.evidence.share_test import HARM_RATIOS, SAFE_RATIOS, gained

RUNS_N = 2_000
SEED = 20_261_126
EVENTS_N = 4_000  # a run that has not come to an end by then has none
HIGHEST = 600.0  # of a log: e to its power is a float, and so is its inverse
LARGEST_N = 10_000_000
GROWTH = 1.05  # between two numbers of requests at which an exact bound is looked at

Floats = NDArray[np.float64]


class Stream(Struct, frozen=True):
    """What comes in: requests in a second, and the share of the baseline's that are bad."""

    requests_per_s: float
    error_rate: float


class Stay(Struct, frozen=True):
    """A step: the candidate's share of the requests that are compared, and for how long; these are a `part` of all."""

    share: float
    seconds: float
    part: float = 1.0


class Wait(Struct, frozen=True):
    """A median: of the requests of all arms, and of the seconds until the epoch that holds the last of them is over."""

    requests: float
    seconds: float


def wait_to_catch(rule: Rule, bound: Bound, share: float, stream: Stream, *, harm: float = 2.0) -> Wait | None:
    """Until a candidate with `share` of the requests, `harm` times as bad, is condemned. None if half never are."""
    if bound.limit is not None:
        return None
    thetas = [ratio * bound.tolerated for ratio in HARM_RATIOS]
    wanted = rule.condemns_at + _stake(bound)
    nothing = np.zeros((RUNS_N, len(thetas)))
    events_n = _events_until(wanted, _gains(share, thetas, bound.tolerated), share, harm, restarts=True, totals=nothing)
    least_s = (EPOCHS_TO_CONVICT if bound.form == Form.AUTO else 1) * EPOCH_S
    return _median(events_n, stream, share, harm, least_s)


def wait_to_prove(rule: Rule, bound: Bound, share: float, stream: Stream, *, stays: Sequence[Stay] = ()) -> Wait | None:
    """Until a candidate with `share` of the requests, as good as the baseline, is proven to keep the bound's margin.

    What it shows during earlier `stays` counts; the wait begins after them. None if half never are.
    """
    found = [_wait_for_rate(rule, bound, share, stream, stays)]
    if bound.limit is None:
        wanted = rule.proves_at + _stake(bound)
        gains = _gains(share, _safe_thetas(bound), bound.ratio)
        begun = _shown(bound, stream, stays)
        events_n = _events_until(wanted, gains, share, 1.0, restarts=False, totals=begun)
        found.append(_median(events_n, stream, share, 1.0, EPOCH_S))
    return min((wait for wait in found if wait), key=lambda wait: wait.requests, default=None)


def _stake(bound: Bound) -> float:
    return log(2) if bound.form == Form.AUTO else 0.0


def _gains(share: float, thetas: list[float], theta0: float) -> tuple[Floats, Floats]:
    """What one event of the candidate, and one of the baseline, adds to each theta."""
    one, other = (gained(event, share, thetas, theta0) for event in ((1, 0), (0, 1)))
    return np.array(one), np.array(other)


def _safe_thetas(bound: Bound) -> list[float]:
    return [ratio * bound.tolerated for ratio in SAFE_RATIOS]


def _shown(bound: Bound, stream: Stream, stays: Sequence[Stay]) -> Floats:
    """What runs of a candidate as good as the baseline have shown after these stays, for each theta."""
    draws = np.random.default_rng(SEED + 3)
    totals = np.zeros((RUNS_N, len(SAFE_RATIOS)))
    for stay in stays:
        bad_n = stream.requests_per_s * stay.part * stay.seconds * stream.error_rate
        of_candidate, of_baseline = (draws.poisson(bad_n * part, RUNS_N) for part in (stay.share, 1 - stay.share))
        one, other = _gains(stay.share, _safe_thetas(bound), bound.ratio)
        totals += of_candidate[:, None] * one + of_baseline[:, None] * other
    return totals


def _events_until(
    wanted: float, gains: tuple[Floats, Floats], share: float, ratio: float, *, restarts: bool, totals: Floats
) -> Floats:
    """For each run the bad events until log E is `wanted`; infinity for those that end in the last third, or never."""
    chance = share * ratio / (share * ratio + 1 - share)
    draws = np.random.default_rng(SEED)
    found = np.full(RUNS_N, np.inf)
    runs = np.arange(RUNS_N)  # those that go on
    if not restarts:
        is_done = np.mean(np.exp(np.clip(totals, -HIGHEST, HIGHEST)), axis=1) >= exp(wanted)
        found[is_done] = 0.0
        runs, totals = runs[~is_done], totals[~is_done]
    held = np.zeros_like(totals)  # what the restarts so far are worth, for each theta, beside the first
    for number in range(EVENTS_N // EVENTS_BETWEEN):
        hits = draws.random((len(runs), EVENTS_BETWEEN, 1)) < chance
        paths = totals[:, None, :] + np.cumsum(np.where(hits, *gains), axis=1)
        e_values = np.exp(np.clip(paths, -HIGHEST, HIGHEST))
        mixed = np.mean(e_values * (1 + held[:, None, :]), axis=2)
        reached = (mixed + 1 / (number + 1)) / 2 >= exp(wanted) if restarts else mixed >= exp(wanted)
        is_over = reached.any(axis=1)
        found[runs[is_over]] = number * EVENTS_BETWEEN + 1 + reached[is_over].argmax(axis=1)
        runs, totals, held = runs[~is_over], paths[~is_over, -1, :], held[~is_over]
        if len(runs) * 3 <= RUNS_N:
            break
        if restarts:
            held = held + np.exp(-np.maximum(totals, -HIGHEST)) / ((number + 1) * (number + 2))
    return found


def _median(events_n: Floats, stream: Stream, share: float, ratio: float, least_s: float) -> Wait | None:
    """The time that so many events take, in the middle of all runs."""
    bad_share = stream.error_rate * (1 - share + share * ratio)
    if np.isinf(events_n).sum() * 2 >= RUNS_N or bad_share <= 0:
        return None
    shapes = np.where(np.isinf(events_n), 1.0, np.maximum(events_n, 1e-9))
    requests = np.random.default_rng(SEED + 1).gamma(shapes) / bad_share
    return _wait(float(np.median(np.where(np.isinf(events_n), np.inf, requests))), stream, least_s)


def _wait_for_rate(rule: Rule, bound: Bound, share: float, stream: Stream, stays: Sequence[Stay]) -> Wait | None:
    """Until the candidate's own rate is proven to lie below the bound's, where it does."""
    below = bound.limit if bound.limit is not None else bound.rate
    if below is None or stream.error_rate >= below:
        return None
    draws = np.random.default_rng(SEED + 2)
    events_n = np.zeros(RUNS_N, np.int64)
    is_proven = np.zeros(RUNS_N, np.bool_)
    before, shown_n = 0, sum(stay.share * stay.part * stay.seconds for stay in stays) * stream.requests_per_s
    size = 100
    while size < LARGEST_N:
        events_n += draws.binomial(size - before, stream.error_rate, RUNS_N)
        is_proven |= events_n <= _most_events(size, below, rule.beta)
        if is_proven.sum() * 2 >= RUNS_N:
            return _wait(max(size - shown_n, 0.0) / share, stream, EPOCH_S)
        before, size = size, ceil(size * GROWTH)
    return None


def _most_events(of_n: int, below: float, beta: float) -> int:
    """With how many events in so many requests a rate is still proven to lie below; -1 with none."""
    low, high = -1, ceil(of_n * below)
    while high - low > 1:
        middle = (low + high) // 2
        if upper_bound(middle, of_n, beta) < below:
            low = middle
        else:
            high = middle
    return low


def _wait(requests: float, stream: Stream, least_s: float) -> Wait:
    seconds = requests / stream.requests_per_s
    return Wait(requests, max(ceil(seconds / EPOCH_S) * EPOCH_S, least_s))
