"""What a rollout may do by itself: its shares, how long it stays, who has to be asked, and what becomes of doubt."""

from enum import StrEnum

from msgspec import Struct

from strategies.core.plan import WHOLE_PPM


class Inconclusive(StrEnum):
    """What becomes of a step whose evidence is still unsure when its patience is over."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    PROMOTE_WITH_APPROVAL = "promote-with-approval"  # it goes on if somebody other than its author takes it upon them


class Ramp(Struct, frozen=True):
    """Shares in ppm, rising, and the shortest stay at each; beyond `approve_above_ppm` a second person is asked."""

    shares_ppm: tuple[int, ...]
    bakes_s: tuple[float, ...] = ()  # as many as shares; none: a step needs no time, only evidence
    patience_s: float = float("inf")
    approve_above_ppm: int = WHOLE_PPM
    on_inconclusive: Inconclusive = Inconclusive.HOLD

    @property
    def steps_n(self) -> int:
        return len(self.shares_ppm)

    def bake_s(self, step: int) -> float:
        return self.bakes_s[step] if self.bakes_s else 0.0

    def share_after(self, step: int) -> int:
        """What comes after a step: the next one's share, and all after the last."""
        return self.shares_ppm[step + 1] if step + 1 < self.steps_n else WHOLE_PPM
