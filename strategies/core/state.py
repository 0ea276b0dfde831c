"""What is kept for a route between revisions: published values, never changed in place."""

from enum import StrEnum

from msgspec import Struct


class Phase(StrEnum):
    """Where a rollout stands."""

    BAKING = "baking"  # climbing: the live step's share meets the candidate
    HELD = "held"  # the same share, and nobody climbs until a person says so
    PROMOTED = "promoted"  # the candidate has the whole route; the old baseline stays behind it as the fallback
    ROLLED_BACK = "rolled_back"  # the baseline has the whole route, until a person restarts the rollout
    EXPIRED = "expired"  # likewise: the experiment's time was over


class RolloutState(Struct, frozen=True):
    """Where a ramp stands. `step` counts from 0; `reason` says in words why the latest move was made."""

    step: int = 0
    phase: Phase = Phase.BAKING
    reason: str = ""


RouteState = RolloutState | None


def live_ppm(shares_ppm: tuple[int, ...], state: RouteState) -> int:
    """The candidate's share of the units: that of its live step, all of them once promoted, none once taken back."""
    if state is None:
        return shares_ppm[0]
    match state.phase:
        case Phase.BAKING | Phase.HELD:
            return shares_ppm[state.step]
        case Phase.PROMOTED:
            return 1_000_000
        case Phase.ROLLED_BACK | Phase.EXPIRED:
            return 0
