"""What has gone stale in documents that are correct: nothing here keeps a gateway from serving. Pure."""

from collections.abc import Collection, Iterator
from datetime import date
from pathlib import PurePath

from msgspec import Struct

from gateway.config.compile import compile_route
from gateway.config.directory import Configuration
from gateway.config.documents import RouteDoc
from gateway.config.extends import unused_bases
from gateway.config.layers import LAYERS_FILE
from gateway.config.traffic import traffic_of


class Finding(Struct, frozen=True):
    """Something to clear up. `route` is "" for what belongs to no route."""

    route: str
    what: str
    cure: str


def review(configuration: Configuration, models: Collection[PurePath], *, today: date) -> tuple[Finding, ...]:
    """Everything stale, route by route, then empty layers, bases nobody extends and `models` that no arm names.

    Paths of `models` are relative to the root.
    """
    found = [
        finding
        for document in configuration.routes
        for finding in (
            *_people(document),
            *_end(document, today),
            *_unreached(document, configuration),
            *_layer(document),
            *_audience(document),
        )
    ]
    named = {PurePath(file) for document in configuration.routes for file in _files(document)}
    unused = sorted(set(models) - named)
    empty = configuration.layers.layers.keys() - {document.layer for document in configuration.routes}
    bases = unused_bases(configuration.root, configuration.documents)
    return (
        *found,
        *(Finding("", f"no route is in layer {layer}", f"remove it from {LAYERS_FILE}") for layer in sorted(empty)),
        *(Finding("", f"no route extends {base}", "remove the file") for base in bases),
        *(Finding("", f"no arm names {file}", "remove the file") for file in unused),
    )


def is_experiment(document: RouteDoc) -> bool:
    """Whether the route tries something, on clients or in the shadow."""
    return document.strategy.kind != "baseline" or bool(document.shadow)


def _people(document: RouteDoc) -> Iterator[Finding]:
    if document.owner is None:
        yield Finding(document.route, "nobody owns it", "write owner: and whom to ask")
    if is_experiment(document) and document.hypothesis is None:
        yield Finding(document.route, "its experiment has no hypothesis", "write hypothesis: and what it may show")


def _end(document: RouteDoc, today: date) -> Iterator[Finding]:
    if not is_experiment(document):
        return
    if document.expires is None:
        yield Finding(document.route, "its experiment has no end", "write expires: and a date")
    elif document.expires <= today:
        cure = "move the date, or write strategy: {kind: baseline} and no shadow"
        yield Finding(document.route, f"its experiment expired on {document.expires}", cure)


def _unreached(document: RouteDoc, configuration: Configuration) -> Iterator[Finding]:
    """Arms of which the document itself makes no use, its date apart."""
    for name in traffic_of(compile_route(document, root=configuration.root, layers=configuration.layers)).unreached:
        yield Finding(
            document.route, f"arm {name} gets no request", "remove it, or give it a share or a place in fallback"
        )


def _layer(document: RouteDoc) -> Iterator[Finding]:
    if document.layer is not None and document.strategy.kind == "baseline":
        what = f"it keeps {document.slots} of layer {document.layer} from others and tries nothing with it"
        yield Finding(document.route, what, "remove layer and slots")


def _audience(document: RouteDoc) -> Iterator[Finding]:
    if document.audience and document.strategy.kind == "baseline":
        yield Finding(document.route, "its audience changes nothing: everybody gets the baseline", "remove it")
    allowed: dict[str, frozenset[str]] = {}
    for rule in document.audience:
        name, values = rule.attribute, frozenset(rule.values)
        before = allowed.get(name)
        allowed[name] = values if before is None else before & values
        if not allowed[name]:
            yield Finding(document.route, f"no {name} keeps to all rules of its audience", "write one rule for it")
        elif before is not None and before <= values:
            yield Finding(document.route, f"a rule for {name} leaves nobody out that another does not", "remove it")


def _files(document: RouteDoc) -> Iterator[str]:
    for arm in document.arms.values():
        scheme, _, rest = arm.model.partition(":")
        if scheme in ("file", "constant"):
            yield rest
        if arm.golden:
            yield arm.golden
