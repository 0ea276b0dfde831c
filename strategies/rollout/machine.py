"""The rollout's state machine: every legal move stands in one table, and an absent pair is no move.

phase -> event -> move, a pure function of the state, the event and the ramp
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import percent
from strategies.core.state import Phase, RolloutState
from strategies.evidence.epochs import EPOCH_S
from strategies.evidence.rule import Verdict
from strategies.rollout.ramp import Inconclusive, Ramp

LONGEST_TICK_S = 20.0  # time between two looks beyond this passed unwatched, and counts for nothing


class Verb(StrEnum):
    """What can happen to a rollout."""

    ADVANCE = "advance"  # one step up
    PROMOTE = "promote"  # the candidate takes the whole route
    APPROVE = "approve"  # a second person lets it go beyond the share that needs no approval
    HOLD = "hold"
    RESUME = "resume"
    ROLLBACK = "rollback"
    EXPIRE = "expire"
    RESTART = "restart"  # from the first step, also after a rollback
    TICK = "tick"  # somebody looked at the evidence


PEOPLES_VERBS = tuple(verb for verb in Verb if verb not in (Verb.EXPIRE, Verb.TICK))


class Event(Struct, frozen=True):
    """Something that happened, why, and who asked for it.

    `now_s` is the Unix time. The rest is of a tick: what the evidence says, and in how many of the seconds that it
    tells of for the first time the candidate had requests.
    """

    verb: Verb
    reason: str = ""
    author: str = ""
    now_s: float = 0.0
    verdict: Verdict = Verdict.UNSURE
    served_s: float = 0.0


class IllegalTransition(Exception):
    """This cannot happen in this phase. `cure` names what can."""

    def __init__(self, state: RolloutState, verb: Verb, why: str, cure: str) -> None:
        super().__init__(f"cannot {verb}: {why}; {cure}")
        self.state = state
        self.verb = verb
        self.cure = cure


Move = Callable[[RolloutState, Event, Ramp], RolloutState]


def move(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    """The state after `event`. Raises IllegalTransition."""
    legal = TABLE[state.phase]
    if event.verb not in legal:
        raise IllegalTransition(
            state, event.verb, f"the rollout is {PHRASES[state.phase]}", f"possible: {possible(state.phase)}"
        )
    return legal[event.verb](state, event, ramp)


def begun(author: str, now_s: float, reason: str = "") -> RolloutState:
    """A rollout at its first step. Its clock is the epochs', and the one in which it begins counts as a whole."""
    return RolloutState(author=author, reason=reason, last_tick_s=float(now_s // EPOCH_S * EPOCH_S))


def possible(phase: Phase) -> str:
    """What a person can ask for in this phase, as they would type it."""
    return ", ".join(verb for verb in TABLE[phase] if verb in PEOPLES_VERBS)


def needs_approval(state: RolloutState, ramp: Ramp, share_ppm: int) -> bool:
    """Whether a second person has to be asked before the candidate may have this share."""
    return share_ppm > ramp.approve_above_ppm and not state.approver


def _tick_while_baking(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    """One step up when the stay is over and the evidence lets it; back at once when it says harm."""
    match event.verdict:
        case Verdict.FAIL:
            return _ROLLBACK(state, event, ramp)
        case Verdict.HALT:  # nothing can be learned now, and that is nobody's lost time
            return _at(state, event)
        case Verdict.UNSURE | Verdict.CLEAR | Verdict.PROVEN:
            return _climb(_passed(state, event), event, ramp)


def _climb(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    is_last = state.step + 1 == ramp.steps_n
    enough = (Verdict.PROVEN,) if is_last else (Verdict.CLEAR, Verdict.PROVEN)
    is_waived = state.is_waived and bool(state.approver)
    if state.baked_s < ramp.bake_s(state.step) or not (event.verdict in enough or is_waived):
        return _despair(state, event, ramp) if state.waited_s >= ramp.patience_s else state
    if needs_approval(state, ramp, ramp.share_after(state.step)):
        return _AWAIT(state, event, ramp)
    return _PROMOTED(state, event, ramp) if is_last else _next_step(state, event, ramp)


def _despair(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    """The step's patience is over, and its evidence is still unsure."""
    match ramp.on_inconclusive:
        case Inconclusive.HOLD:
            return _HOLD(state, event, ramp)
        case Inconclusive.ROLLBACK:
            return _ROLLBACK(state, event, ramp)
        case Inconclusive.PROMOTE_WITH_APPROVAL:  # an approval of before did not know of this
            return replace(_AWAIT(state, event, ramp), approver="", is_waived=True)


def _tick_while_waiting(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    """Nobody climbs, but harm still takes the candidate back."""
    if event.verdict is Verdict.FAIL:
        return _ROLLBACK(state, event, ramp)
    return _at(replace(state, baked_s=state.baked_s + event.served_s), event)


def _passed(state: RolloutState, event: Event) -> RolloutState:
    """The state with its clocks at the event's time."""
    since_s = event.now_s - state.last_tick_s if state.last_tick_s else event.served_s
    watched_s = min(max(since_s, 0.0), LONGEST_TICK_S)
    return replace(
        state,
        baked_s=state.baked_s + event.served_s,
        waited_s=state.waited_s + watched_s,
        last_tick_s=max(event.now_s, state.last_tick_s),
    )


def _at(state: RolloutState, event: Event) -> RolloutState:
    return replace(state, last_tick_s=max(event.now_s, state.last_tick_s))


def _next_step(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    """The beginning of a step. An approval of one step's doubts is none of a share that takes one."""
    is_spent = state.is_waived and ramp.share_after(state.step) <= ramp.approve_above_ppm
    approver = "" if is_spent else state.approver
    begun = replace(state, step=state.step + 1, phase=Phase.BAKING, reason=event.reason, approver=approver)
    return _at(replace(begun, is_waived=False, baked_s=0.0, waited_s=0.0), event)


def _advance(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    if state.step + 1 >= ramp.steps_n:
        why = f"step {ramp.steps_n} is the last"
        raise IllegalTransition(state, event.verb, why, "promote gives it the whole route")
    _refuse_unapproved(state, event, ramp, ramp.share_after(state.step))
    return _next_step(state, event, ramp)


def _promote(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    _refuse_unapproved(state, event, ramp, ramp.share_after(ramp.steps_n))
    return _PROMOTED(state, event, ramp)


def _refuse_unapproved(state: RolloutState, event: Event, ramp: Ramp, share_ppm: int) -> None:
    if needs_approval(state, ramp, share_ppm):
        why = f"{percent(share_ppm)} is above {percent(ramp.approve_above_ppm)}, which takes an approval"
        raise IllegalTransition(state, event.verb, why, f"{_somebody_else(state)} has to say: approve")


def _approve(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    """Let it climb, if the evidence does. It moves with the next look at that, not before."""
    if state.author and state.author == event.author:
        why = f"{event.author} began this rollout"
        raise IllegalTransition(state, event.verb, why, f"{_somebody_else(state)} has to approve it")
    if ramp.approve_above_ppm >= WHOLE_PPM and not state.is_waived:
        raise IllegalTransition(state, event.verb, "nothing here takes an approval", "advance and promote are free")
    approved = replace(state, approver=event.author or "somebody", reason=event.reason)
    if state.phase is Phase.AWAITING_APPROVAL:
        return _at(replace(approved, phase=Phase.BAKING, waited_s=0.0), event)
    return approved


def _resume(state: RolloutState, event: Event, _ramp: Ramp) -> RolloutState:
    return _at(replace(state, phase=Phase.BAKING, reason=event.reason, waited_s=0.0), event)


def _restart(_state: RolloutState, event: Event, _ramp: Ramp) -> RolloutState:
    return begun(event.author, event.now_s, event.reason)


def _somebody_else(state: RolloutState) -> str:
    return f"somebody other than {state.author}" if state.author else "somebody"


def _to(phase: Phase) -> Move:
    def enter(state: RolloutState, event: Event, _ramp: Ramp) -> RolloutState:
        return _at(replace(state, phase=phase, reason=event.reason), event)

    return enter


_HOLD, _AWAIT, _PROMOTED = _to(Phase.HELD), _to(Phase.AWAITING_APPROVAL), _to(Phase.PROMOTED)
_ROLLBACK, _EXPIRE = _to(Phase.ROLLED_BACK), _to(Phase.EXPIRED)

TABLE: Mapping[Phase, Mapping[Verb, Move]] = MappingProxyType(
    {
        Phase.BAKING: {
            Verb.TICK: _tick_while_baking,
            Verb.ADVANCE: _advance,
            Verb.PROMOTE: _promote,
            Verb.APPROVE: _approve,
            Verb.HOLD: _HOLD,
            Verb.ROLLBACK: _ROLLBACK,
            Verb.EXPIRE: _EXPIRE,
            Verb.RESTART: _restart,
        },
        Phase.HELD: {
            Verb.TICK: _tick_while_waiting,
            Verb.RESUME: _resume,
            Verb.ADVANCE: _advance,
            Verb.PROMOTE: _promote,
            Verb.APPROVE: _approve,
            Verb.ROLLBACK: _ROLLBACK,
            Verb.EXPIRE: _EXPIRE,
            Verb.RESTART: _restart,
        },
        Phase.AWAITING_APPROVAL: {
            Verb.TICK: _tick_while_waiting,
            Verb.APPROVE: _approve,
            Verb.HOLD: _HOLD,
            Verb.ROLLBACK: _ROLLBACK,
            Verb.EXPIRE: _EXPIRE,
            Verb.RESTART: _restart,
        },
        Phase.PROMOTED: {Verb.ROLLBACK: _ROLLBACK, Verb.RESTART: _restart},
        Phase.ROLLED_BACK: {Verb.RESTART: _restart},
        Phase.EXPIRED: {Verb.RESTART: _restart},
    }
)
PHRASES: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.BAKING: "climbing",
        Phase.HELD: "held",
        Phase.AWAITING_APPROVAL: "waiting for an approval",
        Phase.PROMOTED: "promoted",
        Phase.ROLLED_BACK: "rolled back",
        Phase.EXPIRED: "expired",
    }
)
