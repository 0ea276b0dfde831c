"""Two arms side by side, in numbers that hold whenever one looks: rates and means, their difference and ratio.

A rate's ratio comes from the share test: all ratios that its two-sided form does not refute, exact for any drift and
any change of shares. Differences, and ratios of means, are asymptotic confidence sequences over constant shares; when
shares change, they begin anew.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf, log

from msgspec import Struct

from strategies.evidence.epochs import RUN_ERRORS, ArmCounts, Epoch, Moments
from strategies.evidence.means import Difference, absolute, half_width, mean, passes_gate, proportion, relative
from strategies.evidence.share_test import gained, log_mean, plus
from strategies.evidence.slices import whole

RATIOS = (0.1, 0.2, 1 / 3, 0.5, 1 / 1.5, 0.8, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)  # of each alternative to what is tested
WIDEST = log(1e6)  # of a ratio that is told
HALVINGS = 40
MEAN_GATE_N = 100  # values of each arm before anything is said of their means
NOBODY = ArmCounts()

Split = tuple[float, int, int]  # the candidate's share of both arms' requests; its bad events, the baseline's


class Sums(Struct, frozen=True):
    """One arm under the present shares."""

    requests_n: int = 0
    runs_n: int = 0
    events: Mapping[str, int] = {}
    values: Mapping[str, Moments] = {}


class Contrasted(Struct, frozen=True):
    """Everything that contrasts are made of. `splits` are by metric, one for each share there ever was."""

    candidate: str
    baseline: str
    share: float = 0.0
    sums: tuple[Sums, Sums] = (Sums(), Sums())  # candidate's, baseline's
    splits: Mapping[str, tuple[Split, ...]] = {}


class Interval(Struct, frozen=True):
    """An estimate, and the ends of what is not refuted."""

    estimate: float
    low: float
    high: float


class Contrast(Struct, frozen=True):
    """One metric of two arms: a rate of bad events, or the mean of measured values. None is: too little to say."""

    metric: str
    is_rate: bool
    candidate: float
    baseline: float
    candidate_n: int
    baseline_n: int
    difference: Interval | None
    ratio: Interval | None

    @property
    def differs(self) -> bool:
        """Whether it is sure that the arms are not alike in this."""
        ratio, difference = self.ratio, self.difference
        by_ratio = ratio is not None and not ratio.low <= 1 <= ratio.high
        by_difference = difference is not None and not difference.low <= 0 <= difference.high
        return by_ratio if self.is_rate else by_difference


def contrasted(before: Contrasted, epoch: Epoch) -> Contrasted:
    """With one more epoch; one that lost counts, or in which an arm had no share, is left out."""
    arms = whole(epoch.arms.get(before.candidate, NOBODY)), whole(epoch.arms.get(before.baseline, NOBODY))
    shares = epoch.shares_ppm.get(before.candidate, 0), epoch.shares_ppm.get(before.baseline, 0)
    if epoch.lost or not all(shares):
        return before
    share = shares[0] / sum(shares)
    sums = before.sums if share == before.share else (Sums(), Sums())
    splits = dict(before.splits)
    for metric in {*arms[0].events, *arms[1].events} - {RUN_ERRORS}:
        counts = arms[0].events.get(metric, 0), arms[1].events.get(metric, 0)
        splits[metric] = _split(splits.get(metric, ()), share, counts)
    after = _added(sums[0], arms[0]), _added(sums[1], arms[1])
    return Contrasted(before.candidate, before.baseline, share, after, splits)


def contrasts(found: Contrasted, alpha: float = 0.05) -> tuple[Contrast, ...]:
    """Every metric that either arm has, each interval right at all times but for `alpha`."""
    candidate, baseline = found.sums
    rates = sorted({*found.splits, *candidate.events, *baseline.events})
    values = sorted({*candidate.values, *baseline.values})
    return (
        *(_rate(found, metric, alpha) for metric in rates),
        *(_mean(found, metric, alpha) for metric in values),
    )


def ratio_interval(splits: Sequence[Split], alpha: float) -> Interval:
    """The ratio of two rates of bad events: the likeliest, and all that the two-sided share test does not refute."""
    wins, losses = sum(won for _, won, _ in splits), sum(lost for _, _, lost in splits)
    if not wins + losses:
        return Interval(1.0, 0.0, inf)

    def is_refuted(log_ratio: float) -> bool:
        return log_e(splits, exp(log_ratio)) >= -log(alpha)

    likeliest = _likeliest(splits) if wins and losses else (-WIDEST if losses else WIDEST)
    low = exp(_edge(is_refuted, -WIDEST, likeliest)) if wins else 0.0
    high = exp(_edge(is_refuted, WIDEST, likeliest)) if losses else inf
    return Interval(exp(likeliest) if wins and losses else (0.0 if losses else inf), low, high)


def log_e(splits: Sequence[Split], ratio: float) -> float:
    """Log E against "the candidate's rate is exactly `ratio` times the baseline's"."""
    total = (0.0,) * len(RATIOS)
    thetas = [ratio * each for each in RATIOS]
    for share, won, lost in splits:
        total = plus(total, gained((won, lost), share, thetas, ratio))
    return log_mean(total)


def _split(splits: tuple[Split, ...], share: float, counts: tuple[int, int]) -> tuple[Split, ...]:
    known = {each[0]: each[1:] for each in splits}
    won, lost = known.get(share, (0, 0))
    known[share] = won + counts[0], lost + counts[1]
    return tuple((each, *found) for each, found in known.items())


def _added(sums: Sums, arm: ArmCounts) -> Sums:
    events, values = dict(sums.events), dict(sums.values)
    for metric, n in arm.events.items():
        events[metric] = events.get(metric, 0) + n
    for metric, more in arm.values.items():
        known = values.get(metric, Moments())
        values[metric] = Moments(known.n + more.n, known.sum + more.sum, known.squares + more.squares)
    return Sums(sums.requests_n + arm.requests_n, sums.runs_n + arm.runs_n, events, values)


def _rate(found: Contrasted, metric: str, alpha: float) -> Contrast:
    counts = [
        (each.events.get(metric, 0), each.runs_n if metric == RUN_ERRORS else each.requests_n) for each in found.sums
    ]
    (bad, of_n), (baseline_bad, baseline_of_n) = counts
    difference = None
    if all(passes_gate(*each) for each in counts):
        difference = absolute(proportion(baseline_bad, baseline_of_n), proportion(bad, of_n))
    splits = found.splits.get(metric, ())
    return Contrast(
        metric,
        True,
        bad / of_n if of_n else 0.0,
        baseline_bad / baseline_of_n if baseline_of_n else 0.0,
        of_n,
        baseline_of_n,
        _interval(difference, alpha),
        ratio_interval(splits, alpha) if splits else None,
    )


def _mean(found: Contrasted, metric: str, alpha: float) -> Contrast:
    candidate, baseline = (each.values.get(metric, Moments()) for each in found.sums)
    is_enough = min(candidate.n, baseline.n) >= MEAN_GATE_N
    ratio = _interval(relative(baseline, candidate), alpha) if is_enough and baseline.sum else None
    return Contrast(
        metric,
        False,
        mean(candidate) if candidate.n else 0.0,
        mean(baseline) if baseline.n else 0.0,
        candidate.n,
        baseline.n,
        _interval(absolute(baseline, candidate), alpha) if is_enough else None,
        Interval(1 + ratio.estimate, 1 + ratio.low, 1 + ratio.high) if ratio else None,
    )


def _interval(difference: Difference | None, alpha: float) -> Interval | None:
    if difference is None:
        return None
    width = half_width(difference, alpha)
    return Interval(difference.estimate, difference.estimate - width, difference.estimate + width)


def _likeliest(splits: Sequence[Split]) -> float:
    """Log of the ratio that makes what was seen most probable; both arms have bad events."""

    def is_too_high(log_ratio: float) -> bool:
        ratio = exp(log_ratio)
        expected = sum((won + lost) * ratio * share / (ratio * share + 1 - share) for share, won, lost in splits)
        return expected > sum(won for _, won, _ in splits)

    return _edge(is_too_high, WIDEST, -WIDEST)


def _edge(is_out: Callable[[float], bool], out: float, inside: float) -> float:
    for _ in range(HALVINGS):
        middle = (out + inside) / 2
        if is_out(middle):
            out = middle
        else:
            inside = middle
    return inside
