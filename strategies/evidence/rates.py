"""What one arm's own rate can be: an exact bound that holds whenever one looks, and an interval to show.

The bound inverts a beta-binomial mixture: for each rate p, how much better do the counts fit rates drawn around p?

Source: Howard, Ramdas, McAuliffe, Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence sequences.
"""

from collections.abc import Callable
from math import lgamma, log, sqrt
from statistics import NormalDist

T_OPT = 1000.0  # the number of requests at which the bound is tightest
HALVINGS = 48


def log_mixture(s: float, v: float, g: float, h: float, r: float) -> float:
    """Log E of a sum `s` of steps -g or h with mean 0, at the intrinsic time `v`; `r` is the mixture's strength."""
    a, b, whole = r / (h * (g + h)), r / (g * (g + h)), g + h
    steps = v / (g * h)
    up, down = (s + steps * g) / whole, (steps * h - s) / whole
    likelihood = up * log(g / whole) + down * log(h / whole)
    return _log_beta(a + up, b + down) - _log_beta(a, b) - likelihood


def best_rho(v: float, alpha: float) -> float:
    """The strength of a two-sided normal mixture that is tightest at the intrinsic time `v`."""
    spent = -2 * log(alpha)
    return v / (spent + log(1 + spent))


def beta_strength(v_opt: float, alpha: float, g: float, h: float) -> float:
    return max(best_rho(v_opt, alpha) - g * h, 1e-3 * g * h)


def bounds(events_n: int, of_n: int, alpha: float = 0.05, t_opt: float = T_OPT) -> tuple[float, float]:
    """The rates that a Bernoulli sequence with these counts leaves possible, at all times but for alpha."""
    if not of_n:
        return 0.0, 1.0
    rate = events_n / of_n

    def is_refuted(p: float) -> bool:
        return _refutes(events_n, of_n, p, alpha, t_opt)

    lower = 0.0 if events_n == 0 else _edge(is_refuted, 0.0, rate)
    upper = 1.0 if events_n == of_n else _edge(is_refuted, 1.0, rate)
    return lower, upper


def upper_bound(events_n: int, of_n: int, alpha: float = 0.05) -> float:
    """The highest rate that is still possible."""
    return bounds(events_n, of_n, alpha)[1]


def is_below(events_n: int, of_n: int, rate: float, alpha: float = 0.05) -> bool:
    """Whether `upper_bound` is below a rate, 0 < rate < 1, without finding out where it is."""
    return events_n < rate * of_n and _refutes(events_n, of_n, rate, alpha, T_OPT)


def wilson(events_n: int, of_n: int, confidence: float = 0.95) -> tuple[float, float]:
    """An interval to show beside a rate: right for somebody who looks once, so never for decisions."""
    if not of_n:
        return 0.0, 1.0
    z, rate = NormalDist().inv_cdf((1 + confidence) / 2), events_n / of_n
    centre, width = rate + z * z / (2 * of_n), z * sqrt(rate * (1 - rate) / of_n + z * z / (4 * of_n * of_n))
    scale = 1 + z * z / of_n
    lower, upper = (centre - width) / scale, (centre + width) / scale
    return lower if events_n else 0.0, upper if events_n < of_n else 1.0


def _refutes(events_n: int, of_n: int, p: float, alpha: float, t_opt: float) -> bool:
    """Whether these counts are too unlikely at the rate `p`."""
    r = beta_strength(t_opt * p * (1 - p), alpha, p, 1 - p)
    return log_mixture(events_n - of_n * p, of_n * p * (1 - p), p, 1 - p, r) >= log(1 / alpha)


def _edge(is_refuted: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where refuted rates end, between one that is impossible and the one that was seen."""
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        if 0 < middle < 1 and is_refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
