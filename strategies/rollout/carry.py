"""What becomes of a rollout's state when its ramp is edited: it keeps its step, or the edit has to say otherwise."""

from msgspec.structs import replace

from strategies.core.state import WAITING, RolloutState


def carried(state: RolloutState, before_ppm: tuple[int, ...], after_ppm: tuple[int, ...]) -> RolloutState | None:
    """The state on the new ramp, at the step whose share is live now; None when the new ramp has no such share.

    Where no share of the ramp is live (promoted, rolled back, expired), the phase stays and the step is the nearest.
    """
    if state.phase in WAITING:
        share = before_ppm[state.step]
        return replace(state, step=after_ppm.index(share)) if share in after_ppm else None
    return replace(state, step=min(state.step, len(after_ppm) - 1))
