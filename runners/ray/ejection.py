"""Which replicas are worse than their peers and should rest. Pure: times are handed in, nothing is asked or sent.

Requests are spread at random, so replicas of one model should be equally fast; one that is much slower than the others
is in trouble, whatever it says of itself. At most half rest at a time, so the last one never does.
"""

from collections.abc import Sequence
from statistics import median_low

SLOWER_TIMES = 4.0
SLOWER_S = 0.01  # a difference below this harms nobody
SEEN_N = 20  # calls before anything is said of a replica
FAILED_IN_ROW_N = 10
REST_S = 5.0
REST_MOST_S = 60.0
_WEIGHT = 0.1  # of the newest call in the mean


class Pulse:
    """How one replica has answered of late. `rests_until` is on the monotonic clock, 0 while it does not rest."""

    __slots__ = ("failed_in_row_n", "mean_s", "rested_n", "rests_until", "seen_n")

    def __init__(self) -> None:
        self.mean_s = 0.0
        self.seen_n = 0
        self.failed_in_row_n = 0
        self.rested_n = 0
        self.rests_until = 0.0

    def see(self, took_s: float, failed: bool) -> None:
        self.seen_n += 1
        self.mean_s += (took_s - self.mean_s) * max(_WEIGHT, 1 / self.seen_n)
        self.failed_in_row_n = self.failed_in_row_n + 1 if failed else 0

    def rest(self, now: float) -> None:
        """Longer each time; and what was seen before does not count after."""
        self.rests_until = now + min(REST_S * 2**self.rested_n, REST_MOST_S)
        self.rested_n += 1
        self.seen_n = self.failed_in_row_n = 0
        self.mean_s = 0.0


def to_rest(pulses: Sequence[Pulse], now: float) -> list[Pulse]:
    """Those of the live replicas' pulses that should begin to rest."""
    resting_n = sum([pulse.rests_until > now for pulse in pulses])
    room_n = len(pulses) // 2 - resting_n
    if room_n <= 0:
        return []
    active = [pulse for pulse in pulses if pulse.rests_until <= now]
    worse = [pulse for pulse in active if _is_worse(pulse, [other for other in active if other is not pulse])]
    return sorted(worse, key=lambda pulse: (pulse.failed_in_row_n, pulse.mean_s), reverse=True)[:room_n]


def _is_worse(pulse: Pulse, others: Sequence[Pulse]) -> bool:
    if pulse.failed_in_row_n >= FAILED_IN_ROW_N and any(not other.failed_in_row_n and other.seen_n for other in others):
        return True
    known = [other.mean_s for other in others if other.seen_n >= SEEN_N]
    if pulse.seen_n < SEEN_N or not known:
        return False
    usual_s = median_low(known)
    return pulse.mean_s > SLOWER_TIMES * usual_s and pulse.mean_s - usual_s > SLOWER_S
