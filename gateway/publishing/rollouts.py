"""Where every rollout stands after a change: moved by a verb, carried along by an edit, or begun."""

from collections.abc import Mapping

from gateway.config.diff import Side
from gateway.config.documents import RouteDoc
from gateway.publishing.change import Apply, Change, ChangeRefused, Operate
from strategies.core.spec import percent, share_ppm
from strategies.core.state import RolloutState
from strategies.rollout.carry import carried
from strategies.rollout.machine import Event, IllegalTransition, move

Rollouts = Mapping[str, RolloutState | None]


def rollouts_after(
    before: Mapping[str, Side],
    routes: Mapping[str, RouteDoc],
    digests: Mapping[str, Mapping[str, str]],
    live: Rollouts,
    change: Change,
) -> dict[str, RolloutState | None]:
    """The state of every route's rollout, None where it has no ramp. Raises ChangeRefused with all reasons."""
    found: dict[str, RolloutState | None] = {}
    reasons: list[str] = []
    for name, document in routes.items():
        try:
            if isinstance(change, Operate) and change.route == name:
                found[name] = _moved(document, live.get(name), change)
            elif isinstance(change, Apply):
                state = None if name in change.restart else live.get(name)
                edited = _edited(document, before.get(name), digests[name], state)
                found[name] = _at_step(document, edited, change.steps[name]) if name in change.steps else edited
            else:
                found[name] = live.get(name)
        except ChangeRefused as refused:
            reasons += refused.reasons
    if reasons:
        raise ChangeRefused(reasons)
    return found


def ramp_ppm(document: RouteDoc) -> tuple[int, ...]:
    """The shares of a route's ramp in ppm, none for a strategy that has no ramp."""
    return tuple(share_ppm(step.share) for step in getattr(document.strategy, "ramp", ()))


def _moved(document: RouteDoc, state: RolloutState | None, change: Operate) -> RolloutState:
    ramp = ramp_ppm(document)
    if state is None or not ramp:
        why = f"route '{document.route}' is under '{document.strategy.kind}', which has no ramp"
        raise ChangeRefused([f"cannot {change.verb}: {why}; change its document and apply it"])
    try:
        return move(state, Event(change.verb, change.reason), steps_n=len(ramp))
    except IllegalTransition as illegal:
        raise ChangeRefused([f"route '{document.route}': {illegal}"]) from None


def _edited(
    document: RouteDoc, before: Side | None, digests: Mapping[str, str], state: RolloutState | None
) -> RolloutState | None:
    ramp = ramp_ppm(document)
    if not ramp:
        return None
    if before is None or state is None or not _is_same_candidate(document, before, digests):
        return RolloutState()
    kept = carried(state, ramp_ppm(before.document), ramp)
    if kept is None:
        share = percent(ramp_ppm(before.document)[state.step])
        what = f"route '{document.route}': its live step is {share}, which is not in the new ramp"
        raise ChangeRefused([f"{what}; keep a step of that share, or apply with --restart {document.route}"])
    return kept


def _at_step(document: RouteDoc, state: RolloutState | None, step: int) -> RolloutState:
    steps_n = len(ramp_ppm(document))
    if state is None or not 1 <= step <= steps_n:
        plural = "s" if steps_n != 1 else ""
        raise ChangeRefused([f"route '{document.route}' has {steps_n} step{plural}, there is no step {step}"])
    return state if state.step == step - 1 else RolloutState(step - 1)


def _is_same_candidate(document: RouteDoc, before: Side, digests: Mapping[str, str]) -> bool:
    name = document.strategy.candidate
    if before.document.strategy.kind != document.strategy.kind or before.document.strategy.candidate != name:
        return False
    was, now = before.document.arms[name], document.arms[name]
    return (was.model, was.version, before.digests.get(name)) == (now.model, now.version, digests.get(name))
