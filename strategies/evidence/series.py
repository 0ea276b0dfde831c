"""One metric of two arms through the epochs: every form of its evidence, brought along with constant work."""

from math import log

from msgspec import Struct
from msgspec.structs import replace

from strategies.evidence.blocks import Blocks, Count, is_bursty, log_e_harm, log_e_safe, with_epoch
from strategies.evidence.bounds import Bound, Form, Rule
from strategies.evidence.rates import is_below
from strategies.evidence.restarts import AT_ONCE, Restarted, extended, opened
from strategies.evidence.restarts import log_e as restarted_log_e
from strategies.evidence.share_test import HARM_RATIOS, SAFE_RATIOS, Vector, gained, log_mean, plus

EPOCHS_TO_CONVICT = 4  # in the auto form: a burst that is shorter than an epoch touches two, and two may meet
NEVER = -700.0


class Series(Struct, frozen=True):
    """What is known of one metric."""

    harm: Restarted
    safe: Vector = (0.0,) * len(SAFE_RATIOS)
    candidate: Count = Count()
    baseline: Count = Count()
    blocks: Blocks = Blocks()
    is_crowded: bool = False  # single events are not told apart by unit any more


class Chance(Struct, frozen=True):
    """The chance that a bad event is the candidate's if the arms are equal: what it may be at most, and at least."""

    most: float
    least: float


def begun() -> Series:
    return Series(opened(len(HARM_RATIOS)))


def crowded(series: Series, counts: tuple[Count, Count]) -> Series:
    """The series after an epoch whose single events are no evidence, since one unit may have had many of them."""
    candidate, baseline = counts
    return replace(
        series,
        candidate=series.candidate + candidate,
        baseline=series.baseline + baseline,
        blocks=with_epoch(series.blocks, candidate, baseline),
        is_crowded=True,
    )


def followed(
    rule: Rule, bound: Bound, series: Series, counts: tuple[Count, Count], chance: Chance, *, epochs_n: int = 1
) -> Series:
    """The series after an epoch's counts of (candidate, baseline); `epochs_n` ended since the one before."""
    candidate, baseline = counts
    events = (candidate.events_n, baseline.events_n)
    if bound.limit is None:
        harm = gained(events, chance.most, [ratio * bound.tolerated for ratio in HARM_RATIOS], bound.tolerated)
        safe = gained(events, chance.least, [ratio * bound.tolerated for ratio in SAFE_RATIOS], bound.ratio)
        events_n = sum(events)
    else:
        harm, safe, events_n = _gained_over(bound.limit, candidate), series.safe, candidate.events_n
    if bound.form == Form.AUTO:
        harm = _capped(harm, _harm_cap(rule, series.harm))
        safe = _capped(safe, (rule.proves_at + log(2 * len(SAFE_RATIOS))) / EPOCHS_TO_CONVICT)
    return Series(
        extended(series.harm, harm, epochs_n if bound.window_n else events_n, bound.window_n),
        plus(series.safe, safe),
        series.candidate + candidate,
        series.baseline + baseline,
        with_epoch(series.blocks, candidate, baseline),
        series.is_crowded,
    )


def form_of(bound: Bound, series: Series) -> Form:
    """Which form speaks now."""
    if bound.limit is not None:
        return Form.EVENTS
    if series.is_crowded or (bound.form == Form.AUTO and is_bursty(series.blocks)):
        return Form.BLOCKS
    return Form.EVENTS if bound.form == Form.AUTO else bound.form


def harm_log_e(rule: Rule, bound: Bound, series: Series) -> float:
    """Log E against "the candidate keeps the bound". A choice between two forms costs half of the stake."""
    stake = log(2) if bound.form == Form.AUTO else 0.0
    if form_of(bound, series) == Form.EVENTS:
        return restarted_log_e(series.harm) - stake
    return log_e_harm(series.blocks, bound.tolerated, rule.each_alpha) - stake


def safe_log_e(rule: Rule, bound: Bound, series: Series) -> float:
    """Log E against "the candidate is `ratio` times as bad, or worse"; NEVER where the bound is no ratio."""
    if bound.limit is not None:
        return NEVER
    stake = log(2) if bound.form == Form.AUTO else 0.0
    if form_of(bound, series) == Form.EVENTS:
        return log_mean(series.safe) - stake
    return log_e_safe(series.blocks, bound.ratio, rule.beta) - stake


def is_safe(rule: Rule, bound: Bound, series: Series) -> bool:
    """Whether the candidate is proven to keep the bound's margin. Where nothing is counted among, nothing can break."""
    if not series.candidate.of_n + series.baseline.of_n:
        return True
    below = bound.limit if bound.limit is not None else bound.rate
    if safe_log_e(rule, bound, series) >= rule.proves_at:
        return True
    return below is not None and is_below(series.candidate.events_n, series.candidate.of_n, below, rule.beta)


def _gained_over(limit: float, candidate: Count) -> Vector:
    """The one-sample test against "at most `limit` of the candidate's requests are bad"."""
    rates = [min(ratio * limit, (1 + limit) / 2) for ratio in HARM_RATIOS]
    good_n = candidate.of_n - candidate.events_n
    return tuple(candidate.events_n * log(rate / limit) + good_n * log((1 - rate) / (1 - limit)) for rate in rates)


def _harm_cap(rule: Rule, test: Restarted) -> float:
    """What one epoch may add, so that no fewer than `EPOCHS_TO_CONVICT` convict. Known before the epoch is."""
    number = max(test.restarts_n, 1)
    whole = rule.condemns_at + log(2) + log(len(HARM_RATIOS) / AT_ONCE) + log(number * (number + 1) / 2)
    return whole / EPOCHS_TO_CONVICT


def _capped(gain: Vector, cap: float) -> Vector:
    return tuple(min(each, cap) for each in gain)
