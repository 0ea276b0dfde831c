"""Two copies of one model: whether the one that was just opened fails where the other does not, lately."""

from collections.abc import Iterator

from msgspec import Struct

from strategies.evidence.blocks import Count
from strategies.evidence.epochs import ERROR_RATE, ArmCounts, Epoch

WINDOW_N = 12  # epochs; what is older than two windows is forgotten, for a fresh copy may fail in its first seconds
NO_COUNTS = ArmCounts()
Pair = tuple[Count, Count]  # errors of the copy, and of the rest
NOTHING: Pair = (Count(0, 0), Count(0, 0))


class Copies(Struct, frozen=True):
    """Errors on the live step, in the present window and in the one before."""

    step: int = -1
    window: int = -1
    now: Pair = NOTHING
    before: Pair = NOTHING

    def windows(self) -> Iterator[Pair]:
        yield self.now
        yield self.before


def compared(known: Copies, epoch: Epoch, copy: str, rest: str) -> Copies:
    """With one more epoch; one in which there is no rest tells nothing."""
    if not epoch.shares_ppm.get(rest):
        return known
    window = epoch.number // WINDOW_N
    if epoch.step != known.step:
        known = Copies(epoch.step, window)
    elif window != known.window:
        known = Copies(epoch.step, window, NOTHING, known.now)
    now = _more(known.now[0], epoch, copy), _more(known.now[1], epoch, rest)
    return Copies(known.step, known.window, now, known.before)


def _more(count: Count, epoch: Epoch, name: str) -> Count:
    arm = epoch.arms.get(name, NO_COUNTS)
    return Count(count.events_n + arm.events.get(ERROR_RATE, 0), count.of_n + arm.requests_n)
