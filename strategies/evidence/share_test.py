"""The share test: given a bad event, which arm did it come from?

If both arms are equally bad it is the candidate's with the probability `rho` at which requests were assigned to it,
whatever the rate of bad events is and however it moves. Evidence for a rate `theta` times the baseline's is therefore
the likelihood ratio of a coin, exact for any number of events and whenever one looks:

    D(t) = t rho + 1 - rho
    a candidate's event adds  ln theta/D(theta) - ln theta0/D(theta0),   a baseline's  ln D(theta0) - ln D(theta)

against H0: theta <= theta0 where all thetas lie above theta0, and against H0: theta >= theta0 where they lie below.

Source: Lindon, Malek (2022), Anytime-valid inference for multinomial count data, with a finite mixture.
"""

from collections.abc import Iterable, Sequence
from math import exp, log

HARM_RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)  # from a small regression to one that needs few events
SAFE_RATIOS = (1.0, 0.8, 0.5)  # a candidate as good as the baseline or better, against one at the margin

Vector = tuple[float, ...]  # one log likelihood ratio per theta


def gained(events: tuple[int, int], rho: float, thetas: Sequence[float], theta0: float) -> Vector:
    """What `events` = (candidate's, baseline's) add to each theta's log likelihood ratio; 0 < rho < 1."""
    candidate_n, baseline_n = events
    null = theta0 * rho + 1 - rho
    return tuple(
        candidate_n * log(theta / theta0) + (candidate_n + baseline_n) * log(null / (theta * rho + 1 - rho))
        for theta in thetas
    )


def plus(one: Vector, other: Vector) -> Vector:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def log_sum(terms: Iterable[float]) -> float:
    """Log of the sum of exp(terms), for terms of any size."""
    found = list(terms)
    highest = max(found)
    return highest + log(sum(exp(term - highest) for term in found))


def log_mean(terms: Sequence[float]) -> float:
    """Log of the mean of exp(terms): a mixture with equal weights."""
    return log_sum(terms) - log(len(terms))
