"""Where every rollout stands after a change: moved by a verb, carried along by an edit, or begun."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.diff import Side
from gateway.config.documents import RouteDoc
from gateway.publishing.change import Apply, Change, ChangeRefused, Conduct, Operate
from strategies.core.spec import percent, share_ppm
from strategies.core.state import Phase, RolloutState
from strategies.rollout.carry import carried
from strategies.rollout.machine import Event, IllegalTransition, begun, move
from strategies.rollout.ramp import Ramp

Rollouts = Mapping[str, RolloutState | None]
Latched = Mapping[str, Mapping[str, str]]
LATCHED_LIMIT = 64  # candidates that a route remembers to have taken back


class Before(Struct, frozen=True):
    """What is live: routes, where their rollouts stand, and which candidates were taken back."""

    sides: Mapping[str, Side]
    rollouts: Rollouts
    latched: Latched = {}


class Asked(Struct, frozen=True):
    """A change with who asks for it and when, in Unix seconds."""

    change: Change
    author: str = ""
    now_s: float = 0.0


def rollouts_after(
    before: Before, routes: Mapping[str, RouteDoc], digests: Mapping[str, Mapping[str, str]], asked: Asked
) -> dict[str, RolloutState | None]:
    """The state of every route's rollout, None where it has no ramp. Raises ChangeRefused with all reasons."""
    found: dict[str, RolloutState | None] = {}
    reasons: list[str] = []
    for name, document in routes.items():
        try:
            match asked.change:
                case Operate(route, _) as operate if route == name:
                    found[name] = _moved(document, before.rollouts.get(name), operate, asked)
                case Conduct(route, state) if route == name:
                    found[name] = state
                case Apply() as apply:
                    edited = _edited(document, before, digests[name], asked)
                    found[name] = _at_step(document, edited, apply.steps[name]) if name in apply.steps else edited
                case _:
                    found[name] = before.rollouts.get(name)
        except ChangeRefused as refused:
            reasons += refused.reasons
    if reasons:
        raise ChangeRefused(reasons)
    return found


def latched_after(
    before: Latched, routes: Mapping[str, RouteDoc], digests: Mapping[str, Mapping[str, str]], rollouts: Rollouts
) -> dict[str, dict[str, str]]:
    """Which candidates count as taken back: whoever is now, and whoever was and has not been let in again since."""
    latched = {name: dict(candidates) for name, candidates in before.items()}
    for name, document in routes.items():
        state = rollouts[name]
        if state is None:
            continue
        mine, key = latched.setdefault(name, {}), candidate_key(document, digests[name])
        mine.pop(key, None)
        if state.phase is Phase.ROLLED_BACK:
            while len(mine) >= LATCHED_LIMIT:
                mine.pop(next(iter(mine)))
            mine[key] = state.reason
    return {name: candidates for name, candidates in latched.items() if candidates}


def candidate_key(document: RouteDoc, digests: Mapping[str, str]) -> str:
    """What makes a candidate the same one: the digest of its file, or its words where there is no file here."""
    arm = document.arms[document.strategy.candidate]
    return digests.get(document.strategy.candidate) or f"{arm.model} {arm.version or ''}"


def ramp_ppm(document: RouteDoc) -> tuple[int, ...]:
    """The shares of a route's ramp in ppm, none for a strategy that has no ramp."""
    return tuple(share_ppm(step.share) for step in getattr(document.strategy, "ramp", ()))


def rollout_of(document: RouteDoc) -> Ramp | None:
    """What a route's rollout may do by itself, None for a strategy that has no ramp."""
    return document.strategy.rollout() if ramp_ppm(document) else None


def _moved(document: RouteDoc, state: RolloutState | None, operate: Operate, asked: Asked) -> RolloutState:
    ramp = rollout_of(document)
    if state is None or ramp is None:
        why = f"route '{document.route}' is under '{document.strategy.kind}', which has no ramp"
        raise ChangeRefused([f"cannot {operate.verb}: {why}; change its document and apply it"])
    try:
        return move(state, Event(operate.verb, operate.reason, asked.author, asked.now_s), ramp)
    except IllegalTransition as illegal:
        raise ChangeRefused([f"route '{document.route}': {illegal}"]) from None


def _edited(document: RouteDoc, before: Before, digests: Mapping[str, str], asked: Asked) -> RolloutState | None:
    ramp = ramp_ppm(document)
    if not ramp:
        return None
    beginning = begun(asked.author, asked.now_s)
    if isinstance(asked.change, Apply) and document.route in asked.change.restart:
        return beginning
    side, state = before.sides.get(document.route), before.rollouts.get(document.route)
    if side is None or state is None or not _is_same_candidate(document, side, digests):
        why = before.latched.get(document.route, {}).get(candidate_key(document, digests))
        return beginning if why is None else replace(beginning, phase=Phase.ROLLED_BACK, reason=why)
    kept = carried(state, ramp_ppm(side.document), ramp)
    if kept is None:
        share = percent(ramp_ppm(side.document)[state.step])
        what = f"route '{document.route}': its live step is {share}, which is not in the new ramp"
        raise ChangeRefused([f"{what}; keep a step of that share, or apply with --restart {document.route}"])
    return kept


def _at_step(document: RouteDoc, state: RolloutState | None, step: int) -> RolloutState:
    steps_n = len(ramp_ppm(document))
    if state is None or not 1 <= step <= steps_n:
        plural = "s" if steps_n != 1 else ""
        raise ChangeRefused([f"route '{document.route}' has {steps_n} step{plural}, there is no step {step}"])
    ramp = rollout_of(document)
    if ramp and step > 1 and ramp.shares_ppm[step - 1] > ramp.approve_above_ppm:
        what = f"step {step} has {percent(ramp.shares_ppm[step - 1])}, which takes an approval"
        raise ChangeRefused([f"route '{document.route}': {what}; begin lower and approve"])
    return state if state.step == step - 1 else replace(state, step=step - 1, phase=Phase.BAKING, baked_s=0.0)


def _is_same_candidate(document: RouteDoc, before: Side, digests: Mapping[str, str]) -> bool:
    name = document.strategy.candidate
    if before.document.strategy.kind != document.strategy.kind or before.document.strategy.candidate != name:
        return False
    was, now = before.document.arms[name], document.arms[name]
    return (was.model, was.version, before.digests.get(name)) == (now.model, now.version, digests.get(name))
