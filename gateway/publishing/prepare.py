"""From a change to the content of the next revision and what it means: parse, validate, compile, diff.

Files are read, for the digests of models; nothing else here looks at the world, and nothing is changed.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.compile import compile_route, inherited_map
from gateway.config.compiled import CompiledRoute
from gateway.config.contents import Contents
from gateway.config.diff import RouteDiff, Side, diff_routes
from gateway.config.directory import Configuration, load_documents
from gateway.config.documents import RouteDoc, SettingsDoc
from gateway.publishing.change import Apply, Change, ChangeRefused, Conduct, Freeze, Operate
from gateway.publishing.kept import GATEWAY, Kept, KeptForAll, dealt_of, kept_of, read, read_for_all, write
from gateway.publishing.rollouts import Asked, Before, latched_after, rollouts_after
from gateway.state.revision import NO_REVISION, Content, Revision, text_digest
from strategies.core.arm import TWIN_SUFFIX
from strategies.core.state import Phase
from strategies.rollout.machine import Verb

ALWAYS = (Verb.ROLLBACK, Verb.HOLD)  # what makes traffic safer is possible while everything is frozen


class Meaning(Struct, frozen=True):
    """A revision and all that follows from it, without opening a model. Number 0 is before the first."""

    number: int
    content: Content
    configuration: Configuration
    kept: Mapping[str, Kept]
    for_all: KeptForAll
    routes: Mapping[str, CompiledRoute]

    def document(self, name: str) -> RouteDoc:
        """What was written for a route that there is."""
        return next(document for document in self.configuration.routes if document.route == name)

    @property
    def experiments(self) -> tuple[str, ...]:
        """The names under which evidence is kept now."""
        return tuple(route.experiment(self.number) for route in self.routes.values())

    def sides(self) -> dict[str, Side]:
        """Every route as diff.py takes it."""
        return {
            document.route: Side(document, self.routes[document.route], self.kept[document.route].digests)
            for document in self.configuration.routes
        }


class Prepared(Struct, frozen=True):
    """The next revision, and what it changes."""

    meaning: Meaning
    differences: tuple[RouteDiff, ...]


def nothing_yet(root: Path) -> Meaning:
    """What is live before the first revision."""
    return Meaning(NO_REVISION, Content({}), Configuration(root, SettingsDoc(), ()), {}, KeptForAll(), {})


def meaning_of(revision: Revision, root: Path) -> Meaning:
    """What a stored revision means, the same in every process.

    Raises ConfigRefused when this release does not take the documents, and ValueError when what was kept is not ours.
    """
    content = revision.content
    configuration = load_documents(root, content.documents)
    try:
        kept = {document.route: read(content.states[document.route]) for document in configuration.routes}
        for_all = read_for_all(content.states[GATEWAY])
    except KeyError as error:
        raise ValueError(f"revision {revision.number} keeps nothing for {error}") from None
    routes = {}
    for document in configuration.routes:
        mine = kept[document.route]
        compiled = compile_route(
            document,
            root=root,
            layers=configuration.layers,
            state=mine.rollout,
            before=mine.allocation(),
            today=date.max if mine.is_expired else date.min,
        )
        if dealt_of(compiled)[: len(mine.dealt)] != mine.dealt:
            raise ValueError(f"revision {revision.number} keeps another map for '{document.route}' than it writes")
        routes[document.route] = _stamped(compiled, document, mine)
    return Meaning(revision.number, content, configuration, kept, for_all, routes)


def prepare(
    live: Meaning, change: Change, *, today: date, contents: Contents, author: str = "", now_s: float = 0.0
) -> Prepared:
    """The revision after `live`. Raises ConfigRefused or ChangeRefused, with everything that is wrong.

    `author` asks for it, at the Unix time `now_s`.
    """
    _refuse_if_frozen(live, change)
    configuration = live.configuration
    if isinstance(change, Apply):
        configuration = load_documents(configuration.root, change.documents, configuration)
    root, layers = configuration.root, configuration.layers
    routes = {document.route: document for document in configuration.routes}
    _refuse_unknown(change, routes)
    sides = live.sides()
    digests = {
        name: contents.digests_of(compile_route(document, root=root, layers=layers))
        for name, document in routes.items()
    }
    before = Before(sides, {name: kept.rollout for name, kept in live.kept.items()}, live.for_all.latched)
    rollouts = rollouts_after(before, routes, digests, Asked(change, author, now_s))
    after = {}
    for name, document in routes.items():
        inherited = inherited_map(document, live.routes.get(name))
        compiled = compile_route(
            document, root=root, layers=layers, state=rollouts[name], before=inherited, today=today
        )
        after[name] = Side(document, compiled, digests[name])
    differences = diff_routes(sides, after)
    fresh = _fresh(differences, change)
    kept = {
        name: kept_of(
            side.compiled,
            live.number + 1 if name in fresh or name not in live.kept else live.kept[name].began,
            digests[name],
            rollouts[name],
            is_expired=side.document.is_expired(today),
        )
        for name, side in after.items()
    }
    latched = latched_after(before.latched, routes, digests, rollouts)
    for_all = replace(_for_all(live.for_all, change), latched=latched)
    return Prepared(_meaning(live, configuration, for_all, after, kept), differences)


def _refuse_if_frozen(live: Meaning, change: Change) -> None:
    if live.number == NO_REVISION and isinstance(change, Freeze):
        raise ChangeRefused(["nothing has been published yet, so there is nothing to freeze"])
    if not live.for_all.frozen or isinstance(change, Freeze):
        return
    if isinstance(change, Operate) and change.verb in ALWAYS:
        return
    if isinstance(change, Conduct) and change.state.phase in (Phase.ROLLED_BACK, Phase.HELD):
        return
    raise ChangeRefused([f"everything is frozen: {live.for_all.frozen}; lift it with: turnout freeze --lift"])


def _refuse_unknown(change: Change, routes: Mapping[str, RouteDoc]) -> None:
    named: set[str] = set()
    if isinstance(change, Operate | Conduct):
        named = {change.route}
    elif isinstance(change, Apply):
        named = {*change.restart, *change.steps}
    unknown = sorted(named - routes.keys())
    if unknown:
        raise ChangeRefused(
            [f"no route is called '{name}'; there is {', '.join(routes) or 'none'}" for name in unknown]
        )


def _fresh(differences: tuple[RouteDiff, ...], change: Change) -> set[str]:
    """The routes whose experiment begins with this change."""
    fresh = {each.route for each in differences if each.experiment in ("begins", "restarts")}
    if isinstance(change, Apply):
        fresh |= change.restart
    if isinstance(change, Operate) and change.verb is Verb.RESTART:
        fresh.add(change.route)
    return fresh


def _for_all(before: KeptForAll, change: Change) -> KeptForAll:
    if isinstance(change, Freeze):
        return replace(before, frozen=change.reason)
    if isinstance(change, Apply) and change.source:
        return replace(before, source=change.source)
    return before


def _meaning(
    live: Meaning,
    configuration: Configuration,
    for_all: KeptForAll,
    after: Mapping[str, Side],
    kept: Mapping[str, Kept],
) -> Meaning:
    states = {name: write(each) for name, each in kept.items()} | {GATEWAY: write(for_all)}
    routes = {name: _stamped(side.compiled, side.document, kept[name]) for name, side in after.items()}
    content = Content(configuration.documents, states)
    return Meaning(live.number + 1, content, configuration, kept, for_all, routes)


def _stamped(route: CompiledRoute, document: RouteDoc, kept: Kept) -> CompiledRoute:
    """The route with its digests, its experiment's beginning, and a print that is equal only while nothing changed."""
    arms = tuple(each.identified(kept.digests.get(each.arm.name.removesuffix(TWIN_SUFFIX), "")) for each in route.arms)
    enrolment = f"{route.holdout!r} {route.slots!r}"  # comes from another document
    print_ = text_digest(f"{document!r} {enrolment} {write(kept)}")
    return replace(route, arms=arms, began=kept.began, fingerprint=print_)
