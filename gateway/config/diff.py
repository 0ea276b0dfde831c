"""What a change of documents does to traffic: exact, from the two maps of intervals, and in words. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from msgspec import Struct

from gateway.config.compiled import CompiledRoute
from gateway.config.diff_enrolment import enrolment_words, layer_of
from gateway.config.documents import RouteDoc
from gateway.config.traffic import Traffic, traffic_of
from strategies.core.assignment import POINTS, moves
from strategies.core.merge import Merge
from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import percent

NEW_EXPERIMENT = (
    "strategy.kind",
    "strategy.candidate",
    "strategy.guardrails",
    "strategy.alpha",
    "strategy.slices",
    "strategy.twin",
    "actions",
    "unit",
    "hash",
    "salt",
    "epoch",
    "layer",
)  # what makes of two stretches of time two experiments
_TOLD_OTHERWISE = ("arms", "fallback", "shadow", "strategy", "turnout", "route")


class Side(Struct, frozen=True):
    """One state of a route: what was written, and what it means. The later side's map derives from the earlier one's.

    `digests` are of the arms' model files, in hex, as far as they are known.
    """

    document: RouteDoc
    compiled: CompiledRoute
    digests: Mapping[str, str] = {}


class Move(Struct, frozen=True):
    """Units that change arms: `points` of the 2^64."""

    source: str
    target: str
    points: int

    @property
    def ppm(self) -> int:
        return round(self.points * WHOLE_PPM / POINTS)


class RouteDiff(Struct, frozen=True):
    """What changes for one route. `moves` is empty where every unit is `dealt_afresh`.

    `experiment` is continues, restarts, begins or ends; `because` names the words that make it restart. `enrolled_ppm`
    is the share of all units that takes part, before and after.
    """

    route: str
    words: tuple[str, ...]
    moves: tuple[Move, ...] = ()
    dealt_afresh: bool = False
    experiment: str = "continues"
    because: tuple[str, ...] = ()
    shadow_load_ppm: tuple[int, int] = (0, 0)
    enrolled_ppm: tuple[int, int] = (0, 0)

    def plain(self) -> dict[str, Any]:
        """For programs. Points are text, for most readers of JSON keep 53 bits of a number."""
        return {
            "route": self.route,
            "words": list(self.words),
            "moves": [
                {"from": move.source, "to": move.target, "share_ppm": move.ppm, "points": str(move.points)}
                for move in self.moves
            ],
            "dealt_afresh": self.dealt_afresh,
            "experiment": self.experiment,
            "because": list(self.because),
            "shadow_load_ppm": list(self.shadow_load_ppm),
            "enrolled_ppm": list(self.enrolled_ppm),
        }


def diff_routes(before: Mapping[str, Side], after: Mapping[str, Side]) -> tuple[RouteDiff, ...]:
    """The routes that differ, by name, in the order of the later documents; those that are gone come last."""
    names = [*after, *(name for name in before if name not in after)]
    found = (diff_route(before.get(name), after.get(name)) for name in names)
    return tuple(difference for difference in found if difference is not None)


def diff_route(before: Side | None, after: Side | None) -> RouteDiff | None:
    """The difference of two states of one route; None when there is none."""
    if before is None:
        return _added(after) if after else None
    if after is None:
        return RouteDiff(before.compiled.name, ("the route is gone: whoever calls it is refused",), experiment="ends")
    written = _changes(before.document, after.document)
    old, new = traffic_of(before.compiled), traffic_of(after.compiled)
    replaced = _replaced_files(before, after)
    enrolled = tuple(enrolment_words(before.compiled, after.compiled))
    if not written and old == new and not replaced and not enrolled:
        return None
    afresh = before.compiled.identity != after.compiled.identity
    moved = () if afresh else _moves(before.compiled, after.compiled)
    because = _restarted_by(before, after, written)
    words = (
        *enrolled,
        *_unit_words(moved, old, new, afresh=afresh),
        *_strategy_words(written),
        *_arm_words(before.document, after.document),
        *(f"arm {name}: its model file has another content" for name in replaced),
        *_load_words(old, new),
        *_fallback_words(old, new),
        *(f"{word} {was} → {now}" for word, (was, now) in written.items() if _root(word) not in _TOLD_OTHERWISE),
        *((f"a new experiment begins, for {', '.join(because)} changed",) if because else ()),
    )
    return RouteDiff(
        route=after.compiled.name,
        words=words,
        moves=moved,
        dealt_afresh=afresh,
        experiment="restarts" if because else "continues",
        because=because,
        shadow_load_ppm=(old.shadow_load_ppm, new.shadow_load_ppm),
        enrolled_ppm=(old.enrolled_ppm, new.enrolled_ppm),
    )


def _added(after: Side) -> RouteDiff:
    new = traffic_of(after.compiled)
    part = "" if new.enrolled_ppm == WHOLE_PPM else f" of the {percent(new.enrolled_ppm)} of units that take part"
    words = (f"the route is new: {_shares(new)}{part}; its fallback ends in {new.fallback[-1]}",)
    loads, enrolled = (0, new.shadow_load_ppm), (0, new.enrolled_ppm)
    return RouteDiff(new.route, words, experiment="begins", shadow_load_ppm=loads, enrolled_ppm=enrolled)


def _moves(before: CompiledRoute, after: CompiledRoute) -> tuple[Move, ...]:
    found = moves(before.decider.allocation, after.decider.allocation)
    return tuple(Move(source, target, points) for (source, target), points in found.items())


def _replaced_files(before: Side, after: Side) -> tuple[str, ...]:
    """Arms that name the same model and would get another one."""
    return tuple(
        name
        for name, digest in after.digests.items()
        if before.digests.get(name, digest) != digest
        and name in before.document.arms
        and before.document.arms[name].model == after.document.arms[name].model
    )


def _restarted_by(before: Side, after: Side, written: Mapping[str, object]) -> tuple[str, ...]:
    """The words whose change begins a new experiment: other arms, other models, another deal or another strategy.

    `written` has every word that says something else.
    """
    words = [word for word in NEW_EXPERIMENT if any(_is_under(path, word) for path in written)]
    if "strategy.kind" in words:  # which says it all
        words = [word for word in words if word == "strategy.kind" or _root(word) != "strategy"]
    if "layer" not in words and layer_of(before.compiled) != layer_of(after.compiled):
        words.append("the salt of its layer")
    if "strategy.kind" not in words and _merged(before.compiled) != _merged(after.compiled):
        words.append("what is interleaved")
    counted = {arm.name for side in (before, after) for plan in side.compiled.plans for arm in plan.serve}
    for name in sorted(counted):
        if (name in before.document.arms) != (name in after.document.arms):
            words.append(f"the arm {name}")
        elif name in _replaced_files(before, after) or any(
            _is_under(path, f"arms.{name}.{word}") for path in written for word in ("model", "version")
        ):
            words.append(f"the model of {name}")
    return tuple(words)


def _merged(route: CompiledRoute) -> list[tuple[str, Merge]]:
    return [(plan.label, plan.merge) for plan in route.plans if plan.merge is not None]


def _unit_words(moved: tuple[Move, ...], old: Traffic, new: Traffic, *, afresh: bool) -> Iterator[str]:
    if afresh:
        yield f"every unit is dealt afresh: {_shares(new)}"
    told = {(move.source, move.target): move.ppm for move in moved if move.ppm}  # less is what rounding moves
    for (source, target), ppm in told.items():
        back = told.get((target, source), 0)
        returning = f"{percent(back)} move the other way" if back else "none return"
        yield f"{percent(ppm)} of units move from {source} to {target}, {returning}"
    if not told and not afresh and old.shares_ppm != new.shares_ppm:
        yield f"no unit moves: {_shares(new)}"


def _strategy_words(written: dict[str, tuple[str, str]]) -> Iterator[str]:
    if "strategy.kind" in written:
        was, now = written["strategy.kind"]
        yield f"strategy {was} → {now}"
        return
    for word, (was, now) in written.items():
        if _root(word) == "strategy":
            yield f"{word} {was} → {now}"


def _arm_words(before: RouteDoc, after: RouteDoc) -> Iterator[str]:
    for name, arm in after.arms.items():
        if name not in before.arms:
            yield f"arm {name} is new: {arm.model}, {arm.role}"
    for name in before.arms:
        if name not in after.arms:
            yield f"arm {name} is gone"
    for word, (was, now) in _changes(before, after).items():
        if _root(word) == "arms" and _arm_of(word, before, after):
            yield f"arm {word.removeprefix('arms.')} {was} → {now}"


def _arm_of(word: str, before: RouteDoc, after: RouteDoc) -> bool:
    """Whether the word belongs to an arm that both documents have."""
    return any(_is_under(word, f"arms.{name}") for name in before.arms if name in after.arms)


def _load_words(old: Traffic, new: Traffic) -> Iterator[str]:
    partners = new.partner_load_ppm - old.partner_load_ppm
    if partners:
        yield f"partner load {'-' if partners < 0 else '+'}{percent(abs(partners))} of requests"
    if old.shadow_ppm == new.shadow_ppm:
        return
    change = new.shadow_load_ppm - old.shadow_load_ppm
    sign = "-" if change < 0 else "+"
    arms = ", ".join(f"{name} {percent(ppm)}" for name, ppm in new.shadow_ppm.items()) or "none"
    yield f"shadow load {sign}{percent(abs(change))} of requests: {arms}"


def _fallback_words(old: Traffic, new: Traffic) -> Iterator[str]:
    if old.fallback[-1] != new.fallback[-1]:
        yield f"the fallback of {new.route} now ends in {new.fallback[-1]}, not in {old.fallback[-1]}"
    elif old.fallback != new.fallback:
        yield f"the fallback of {new.route} is now {' → '.join(new.fallback)}"


def _shares(traffic: Traffic) -> str:
    return ", ".join(f"{name} {percent(ppm)}" for name, ppm in traffic.shares_ppm.items())


def _changes(before: RouteDoc, after: RouteDoc) -> dict[str, tuple[str, str]]:
    """Every word that says something else, dotted, as (was, is); a list is one word."""
    if before == after:  # as most are when one of many is changed; to take them apart would cost more than all else
        return {}
    old, new = _flat(asdict(before)), _flat(asdict(after))
    words = [*new, *(word for word in old if word not in new)]
    return {word: (_text(old.get(word)), _text(new.get(word))) for word in words if old.get(word) != new.get(word)}


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + str(key)] = value or None if isinstance(value, dict) else value
    return flat


def _text(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case dict():
            return "{" + ", ".join(f"{key}: {_text(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_text, value)) + "]"
        case _:
            return str(value)


def _root(word: str) -> str:
    return word.partition(".")[0]


def _is_under(word: str, place: str) -> bool:
    return word == place or word.startswith(place + ".")
