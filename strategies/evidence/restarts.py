"""A test that begins again from time to time: a plain one would first have to spend what a good past has earned.

    E = 3/4 E_0 + 1/4 sum over j of E_j / (j (j + 1)),   E_j of the events since restart j, and 1 before that

Three quarters of the stake are bet from the start, the rest waits. A restart is due at the end of an epoch once 50 more
bad events have come, or a window's worth of epochs, so work is constant. Only the `PARTS_LIMIT` restarts that hold most
are kept; what the least of them held is given up, which can only lower E.
"""

from math import log, log1p

from msgspec import Struct
from msgspec.structs import replace

from strategies.evidence.share_test import Vector, log_mean, log_sum, plus

AT_ONCE = 0.75  # of the stake; half of it would see what begins late a little sooner, and all else a fifth later
EVENTS_BETWEEN = 50
PARTS_LIMIT = 40


class Part(Struct, frozen=True):
    """A restart: its number, and where the log likelihood ratios stood when it began."""

    number: int
    began: Vector


class Restarted(Struct, frozen=True):
    """The test since its first event, and since each restart that is kept."""

    total: Vector
    passed_n: int = 0  # events, or epochs, since the latest restart
    restarts_n: int = 0
    parts: tuple[Part, ...] = ()


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
    parts = test.parts if len(test.parts) < PARTS_LIMIT else _without_the_least(test.parts, total)
    return Restarted(total, 0, number, (*parts, Part(number, total)))


def log_e(test: Restarted) -> float:
    """Log E of the whole."""
    waiting = -log1p(test.restarts_n)  # what is set aside for restarts to come: sum of 1/(j (j + 1)) beyond the last
    held = (_log_held(part, test.total) for part in test.parts)
    return log_sum([log(AT_ONCE) + log_mean(test.total), log(1 - AT_ONCE) + log_sum([waiting, *held])])


def _log_held(part: Part, total: Vector) -> float:
    since = [now - then for now, then in zip(total, part.began, strict=True)]
    return log_mean(since) - log(part.number * (part.number + 1))


def _without_the_least(parts: tuple[Part, ...], total: Vector) -> tuple[Part, ...]:
    held = [_log_held(part, total) for part in parts]
    least = held.index(min(held))
    return parts[:least] + parts[least + 1 :]
