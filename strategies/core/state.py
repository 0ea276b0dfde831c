"""What is kept for a route between revisions: published values, never changed in place."""

from enum import StrEnum

from msgspec import Struct


class Phase(StrEnum):
    """Where a rollout stands."""

    BAKING = "baking"  # climbing: the live step's share meets the candidate
    HELD = "held"  # the same share, and nobody climbs until a person says so
    AWAITING_APPROVAL = "awaiting_approval"  # the same share, and the next one takes a second person's word
    PROMOTED = "promoted"  # the candidate has the whole route; the old baseline stays behind it as the fallback
    ROLLED_BACK = "rolled_back"  # the baseline has the whole route, until a person restarts the rollout
    EXPIRED = "expired"  # likewise: the experiment's time was over


WAITING = (Phase.BAKING, Phase.HELD, Phase.AWAITING_APPROVAL)  # the live step's share meets the candidate


class RolloutState(Struct, frozen=True):
    """Where a ramp stands. `step` counts from 0; `reason` says in words why the latest move was made.

    `author` began the rollout, and `approver`, somebody else, let it go beyond the share that needs no approval; both
    are "" for nobody. `is_waived`: the approver lets the live step go although its evidence stayed unsure. `baked_s` is
    the time in which the step had requests while somebody watched, `waited_s` all the time in which somebody watched,
    `last_tick_s` the Unix time up to which both were counted, 0 before the first look. `slow_s` are durations
    beyond which an answer is slow, for p50, p90 and p99, as they were frozen when the step began.
    """

    step: int = 0
    phase: Phase = Phase.BAKING
    reason: str = ""
    author: str = ""
    approver: str = ""
    is_waived: bool = False
    baked_s: float = 0.0
    waited_s: float = 0.0
    last_tick_s: float = 0.0
    slow_s: tuple[float, ...] = ()


RouteState = RolloutState | None


def live_ppm(shares_ppm: tuple[int, ...], state: RouteState) -> int:
    """The candidate's share of the units: that of its live step, all of them once promoted, none once taken back."""
    if state is None:
        return shares_ppm[0]
    match state.phase:
        case Phase.BAKING | Phase.HELD | Phase.AWAITING_APPROVAL:
            return shares_ppm[state.step]
        case Phase.PROMOTED:
            return 1_000_000
        case Phase.ROLLED_BACK | Phase.EXPIRED:
            return 0
