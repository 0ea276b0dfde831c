"""The block form: where bad events come in bursts, an epoch is one observation, however many events it holds.

A block is an epoch, or as many in a row as it takes until each arm has `BLOCK_N` requests. Its observation is the
candidate's share of bad requests less `ratio` times the baseline's; the arms are compared within a block, so no drift
and no ramp can pass for a difference.

How bursty an arm is, is seen by how much its successive blocks differ: the squares of these differences over what
chance would give, 1 on average where events are independent. The largest move does not count, since an arm that breaks
once makes one (of two differences where it breaks amid a block); a burst makes two. The usual bar of 1.5 lets too many
innocent candidates pass while bursts are still few, so the bar comes down as differences come in.
"""

from math import copysign, sqrt

from msgspec import Struct

from strategies.evidence.means import HIGHEST_LOG_E, Difference, one_sided_log_e

BLOCK_N = 10
BLOCKS_MIN_N = 30
NONZERO_MIN_N = 5
NONZERO_ALONE_N = 20  # with so many bad blocks of one arm, the other's lack of them is no accident
N_OPT = 200


class Count(Struct, frozen=True):
    """Bad events, and what they are counted among."""

    events_n: int = 0
    of_n: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.events_n + other.events_n, self.of_n + other.of_n)

    @property
    def rate(self) -> float:
        """0 where there is nothing."""
        return self.events_n / self.of_n if self.of_n else 0.0


class Spread(Struct, frozen=True):
    """How much one arm's successive blocks differ: the sum of squared differences in units of what chance gives.

    `move` is the latest difference, negative where the rate fell; `largest` the largest one or two in one direction.
    """

    latest: Count = Count()
    nonzero_n: int = 0
    pairs_n: int = 0
    sum: float = 0.0
    move: float = 0.0
    largest: float = 0.0

    @property
    def is_wide(self) -> bool:
        by_chance = self.pairs_n + sqrt(3 * self.pairs_n)  # mean and one deviation: differences share blocks
        return self.sum - self.largest > by_chance


class Blocks(Struct, frozen=True):
    """All blocks so far: sums of the arms' rates, of their squares and products; and the block that is still open."""

    n: int = 0
    candidate: float = 0.0
    baseline: float = 0.0
    candidate_squares: float = 0.0
    baseline_squares: float = 0.0
    products: float = 0.0
    candidate_spread: Spread = Spread()
    baseline_spread: Spread = Spread()
    open_candidate: Count = Count()
    open_baseline: Count = Count()


def with_epoch(blocks: Blocks, candidate: Count, baseline: Count) -> Blocks:
    """The blocks after another epoch's counts."""
    c, b = blocks.open_candidate + candidate, blocks.open_baseline + baseline
    is_whole = min(c.of_n, b.of_n) >= BLOCK_N
    return Blocks(
        blocks.n + is_whole,
        blocks.candidate + is_whole * c.rate,
        blocks.baseline + is_whole * b.rate,
        blocks.candidate_squares + is_whole * c.rate**2,
        blocks.baseline_squares + is_whole * b.rate**2,
        blocks.products + is_whole * c.rate * b.rate,
        _after(blocks.candidate_spread, c) if is_whole else blocks.candidate_spread,
        _after(blocks.baseline_spread, b) if is_whole else blocks.baseline_spread,
        Count() if is_whole else c,
        Count() if is_whole else b,
    )


def is_bursty(blocks: Blocks) -> bool:
    """Whether events come in bursts, so that the single event is no evidence."""
    return blocks.candidate_spread.is_wide or blocks.baseline_spread.is_wide


def log_e_harm(blocks: Blocks, ratio: float, alpha: float) -> float:
    """Log E against "the candidate's rate is at most `ratio` times the baseline's"; 0 while nothing can be said."""
    return _log_e(blocks, 1.0, ratio, alpha) if _can_tell(blocks) else 0.0


def log_e_safe(blocks: Blocks, ratio: float, beta: float) -> float:
    """Log E against "the candidate's rate is at least `ratio` times the baseline's"; 0 while nothing can be said."""
    return _log_e(blocks, -1.0, ratio, beta) if _can_tell(blocks) else 0.0


def _can_tell(blocks: Blocks) -> bool:
    candidate_n, baseline_n = blocks.candidate_spread.nonzero_n, blocks.baseline_spread.nonzero_n
    both = min(candidate_n, baseline_n) >= NONZERO_MIN_N
    return blocks.n >= BLOCKS_MIN_N and (both or max(candidate_n, baseline_n) >= NONZERO_ALONE_N)


def _log_e(blocks: Blocks, sign: float, ratio: float, alpha: float) -> float:
    n = blocks.n
    mean = sign * (blocks.candidate - ratio * blocks.baseline) / n
    squares = (
        blocks.candidate_squares - 2 * ratio * blocks.products + ratio**2 * blocks.baseline_squares
    ) / n - mean**2
    variance = max(
        squares * n / (n - 1), mean**2 / n
    )  # blocks that are all alike prove less than no variance would say
    log_e = one_sided_log_e(Difference(mean, (variance / n) ** 0.5, n), alpha, N_OPT)
    return max(log_e, -HIGHEST_LOG_E)


def _after(spread: Spread, block: Count) -> Spread:
    nonzero_n = spread.nonzero_n + (block.events_n > 0)
    pooled = spread.latest + block
    chance = pooled.rate * (1 - pooled.rate)
    if not spread.latest.of_n or chance <= 0:
        return Spread(block, nonzero_n, spread.pairs_n, spread.sum, 0.0, spread.largest)
    rise = block.rate - spread.latest.rate
    apart = rise**2 / (chance * (1 / block.of_n + 1 / spread.latest.of_n))
    together = apart + (abs(spread.move) if rise * spread.move > 0 else 0.0)
    return Spread(
        block,
        nonzero_n,
        spread.pairs_n + 1,
        spread.sum + apart,
        copysign(apart, rise),
        max(spread.largest, together),
    )
