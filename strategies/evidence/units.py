"""Sample ratio mismatch: do the arms get the units that their shares promise? Looked at continuously.

A Bayes factor of a Dirichlet-multinomial against the multinomial of the shares, one factor per set of shares; units
are counted when they are met first, never requests. A mismatch means that the assignment is broken, and with it every
comparison; it says nothing about which arm is better.

Source: Lindon, Malek (2022), Anytime-valid inference for multinomial count data.
"""

from collections.abc import Mapping, Sequence
from math import lgamma, log

from msgspec import Struct

CONCENTRATION = 100.0  # breaks are gross: 55 instead of 50 % is seen after 1,650 units
FACTORS_LIMIT = 64  # sets of shares told apart; further ones are not looked at


class Shared(Struct, frozen=True):
    """Units met per arm while the shares (in ppm, by arm in order of names) were these."""

    shares_ppm: tuple[int, ...]
    units_n: tuple[int, ...]


class Mismatch(Struct, frozen=True):
    """The factors, and the highest ln E they ever reached together."""

    factors: tuple[Shared, ...] = ()
    log_e: float = 0.0
    highest: float = 0.0


def log_bayes_factor(counts: Sequence[int], chances: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """Log E of one set of chances, which sum to 1."""
    return log_marginal(counts, [concentration * chance for chance in chances]) - log_likelihood(counts, chances)


def log_marginal(counts: Sequence[int], dirichlet: Sequence[float]) -> float:
    """Log probability of a sequence with these counts, its chances drawn from a Dirichlet."""
    whole = sum(dirichlet)
    each = (lgamma(a + n) - lgamma(a) for a, n in zip(dirichlet, counts, strict=True))
    return lgamma(whole) - lgamma(whole + sum(counts)) + sum(each)


def log_likelihood(counts: Sequence[int], chances: Sequence[float]) -> float:
    """Log probability of a sequence with these counts."""
    return sum(n * log(chance) for n, chance in zip(counts, chances, strict=True) if n)


def met(mismatch: Mismatch, shares_ppm: Mapping[str, int], units_n: Mapping[str, int]) -> Mismatch:
    """With the units that were met under these shares. An arm without a share is not part of the comparison."""
    arms = sorted(arm for arm, share in shares_ppm.items() if share > 0)
    counts = tuple(units_n.get(arm, 0) for arm in arms)
    if len(arms) < 2 or not any(counts):
        return mismatch
    key = tuple(shares_ppm[arm] for arm in arms)
    before = next((factor for factor in mismatch.factors if factor.shares_ppm == key), None)
    if before is None and len(mismatch.factors) >= FACTORS_LIMIT:
        return mismatch
    old = before.units_n if before else (0,) * len(counts)
    after = Shared(key, tuple(a + b for a, b in zip(old, counts, strict=True)))
    chances = [share / sum(key) for share in key]
    now = mismatch.log_e + log_bayes_factor(after.units_n, chances) - log_bayes_factor(old, chances)
    others = tuple(factor for factor in mismatch.factors if factor.shares_ppm != key)
    return Mismatch((*others, after), now, max(mismatch.highest, now))
