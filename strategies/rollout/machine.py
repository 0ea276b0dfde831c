"""The rollout's state machine: every legal move stands in one table, and an absent pair is no move.

phase -> event -> move, a pure function of the state, the event and the number of steps
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from strategies.core.state import Phase, RolloutState


class Verb(StrEnum):
    """What can happen to a rollout."""

    ADVANCE = "advance"  # one step up
    PROMOTE = "promote"  # the candidate takes the whole route
    HOLD = "hold"
    RESUME = "resume"
    ROLLBACK = "rollback"
    EXPIRE = "expire"
    RESTART = "restart"  # from the first step, also after a rollback


PEOPLES_VERBS = tuple(verb for verb in Verb if verb is not Verb.EXPIRE)


class Event(Struct, frozen=True):
    """Something that happened, and why."""

    verb: Verb
    reason: str = ""


class IllegalTransition(Exception):
    """This cannot happen in this phase. `cure` names what can."""

    def __init__(self, state: RolloutState, verb: Verb, why: str, cure: str) -> None:
        super().__init__(f"cannot {verb}: {why}; {cure}")
        self.state = state
        self.verb = verb
        self.cure = cure


Move = Callable[[RolloutState, Event, int], RolloutState]


def move(state: RolloutState, event: Event, *, steps_n: int) -> RolloutState:
    """The state after `event`, on a ramp of `steps_n` steps. Raises IllegalTransition."""
    legal = TABLE[state.phase]
    if event.verb not in legal:
        raise IllegalTransition(
            state, event.verb, f"the rollout is {PHRASES[state.phase]}", f"possible: {possible(state.phase)}"
        )
    return legal[event.verb](state, event, steps_n)


def possible(phase: Phase) -> str:
    """What a person can ask for in this phase, as they would type it."""
    return ", ".join(verb for verb in TABLE[phase] if verb in PEOPLES_VERBS)


def _advance(state: RolloutState, event: Event, steps_n: int) -> RolloutState:
    if state.step + 1 >= steps_n:
        raise IllegalTransition(state, event.verb, f"step {steps_n} is the last", "promote gives it the whole route")
    return RolloutState(state.step + 1, Phase.BAKING, event.reason)


def _restart(_state: RolloutState, event: Event, _steps_n: int) -> RolloutState:
    return RolloutState(0, Phase.BAKING, event.reason)


def _to(phase: Phase) -> Move:
    def enter(state: RolloutState, event: Event, _steps_n: int) -> RolloutState:
        return replace(state, phase=phase, reason=event.reason)

    return enter


_PROMOTE, _HOLD, _RESUME = _to(Phase.PROMOTED), _to(Phase.HELD), _to(Phase.BAKING)
_ROLLBACK, _EXPIRE = _to(Phase.ROLLED_BACK), _to(Phase.EXPIRED)

TABLE: Mapping[Phase, Mapping[Verb, Move]] = MappingProxyType(
    {
        Phase.BAKING: {
            Verb.ADVANCE: _advance,
            Verb.PROMOTE: _PROMOTE,
            Verb.HOLD: _HOLD,
            Verb.ROLLBACK: _ROLLBACK,
            Verb.EXPIRE: _EXPIRE,
            Verb.RESTART: _restart,
        },
        Phase.HELD: {
            Verb.RESUME: _RESUME,
            Verb.ADVANCE: _advance,
            Verb.PROMOTE: _PROMOTE,
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
        Phase.PROMOTED: "promoted",
        Phase.ROLLED_BACK: "rolled back",
        Phase.EXPIRED: "expired",
    }
)
