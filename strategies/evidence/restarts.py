"""A test that begins again from time to time: a plain one would first have to spend what a good past has earned.

    E = 3/4 E_0 + 1/4 sum over j of E_j / (j (j + 1)),   E_j of the events since restart j, and 1 before that

Three quarters of the stake are bet from the start, the rest waits. A restart is due at the end of an epoch once 50 more
bad events have come, or a window's worth of epochs. However many there were, they are one sum for each theta, since

    E_j = mean over theta of exp(total - began_j),   so   sum of w_j E_j = mean of exp(total) * sum of w_j exp(-began_j)

and work and memory are constant.
"""

from math import exp, log, log1p

from msgspec import Struct
from msgspec.structs import replace

from strategies.evidence.share_test import Vector, log_mean, log_sum, plus

AT_ONCE = 0.75  # of the stake; half of it would see what begins late a little sooner, and all else a fifth later
EVENTS_BETWEEN = 50


class Restarted(Struct, frozen=True):
    """The test since its first event, and since each restart.

    `held` is, per theta, the log of the sum of exp(-began_j) / (j (j + 1)), where `began_j` is what `total` was at
    restart j; () before the first.
    """

    total: Vector
    passed_n: int = 0  # events, or epochs, since the latest restart
    restarts_n: int = 0
    held: Vector = ()


def opened(thetas_n: int) -> Restarted:
    return Restarted((0.0,) * thetas_n)


def extended(test: Restarted, gain: Vector, passed_n: int, every_n: int = 0) -> Restarted:
    """The test after an epoch that added `gain` to each theta.

    `passed_n` of `every_n` until the next restart have passed: bad events, or with `every_n` what the caller counts.
    """
    total, seen_n = plus(test.total, gain), test.passed_n + passed_n
    if seen_n < (every_n or EVENTS_BETWEEN):
        return replace(test, total=total, passed_n=seen_n)
    number = test.restarts_n + 1
    weight = -log(number * (number + 1))
    begun = tuple(weight - now for now in total)
    held = tuple(map(_log_add, test.held, begun)) if test.held else begun
    return Restarted(total, 0, number, held)


def log_e(test: Restarted) -> float:
    """Log E of the whole."""
    waiting = -log1p(test.restarts_n)  # what is set aside for restarts to come: sum of 1/(j (j + 1)) beyond the last
    late = log_sum((waiting, log_mean(plus(test.total, test.held)))) if test.held else waiting
    return log_sum((log(AT_ONCE) + log_mean(test.total), log(1 - AT_ONCE) + late))


def _log_add(one: float, other: float) -> float:
    """Log of the sum of both exponentials."""
    high, low = (one, other) if one > other else (other, one)
    return high + log1p(exp(low - high))
