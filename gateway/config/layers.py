"""Layers and the holdout: who takes part in the experiments of several routes, and the proof that no two share a unit.

Pure. What is checked of one route and of `layers.yaml` are problems; what two routes do to each other has a place, too.
"""

from collections.abc import Iterator, Sequence

from gateway.config.documents import LayersDoc, RouteDoc, SourceDoc
from gateway.config.extends import WrittenText
from gateway.config.problems import Located
from strategies.core.arm import Arms
from strategies.core.enrolment import Audience, Gate, Holdout, Slots, held_out, in_layer
from strategies.core.plan import WHOLE_PPM, Reason, uncounted
from strategies.core.spec import Problem, percent, range_ppm, range_problems, share_ppm, share_problems

LAYERS_FILE = "layers.yaml"
Placed = tuple[WrittenText, RouteDoc]


def layers_problems(layers: LayersDoc) -> list[Problem]:
    """What is wrong with `layers.yaml` itself."""
    found = share_problems(("holdout", "share"), layers.holdout.share) if layers.holdout else []
    first: dict[str, str] = {}
    for name in layers.layers:
        other = first.setdefault(_salt(layers, name), name)
        if other != name:
            what = f"layers '{other}' and '{name}' have one salt: they would be one and the same"
            found.append(Problem(("layers", name), what, "give each a salt of its own, or leave it out"))
    return found


def enrolment_problems(document: RouteDoc, layers: LayersDoc) -> Iterator[Problem]:
    """What is wrong with a route's use of layers, without a look at other routes."""
    if document.layer is not None and document.layer not in layers.layers:
        known = ", ".join(layers.layers)
        cure = f"the layers are {known}" if known else f"add it to {LAYERS_FILE}: layers: {{{document.layer}: {{}}}}"
        yield Problem(("layer",), f"no layer is called '{document.layer}'", cure)
    if document.slots is not None:
        yield from range_problems(("slots",), document.slots)
    if document.layer is not None and document.slots is None:
        yield Problem(("layer",), "slots are missing", "write which part of the layer's units it takes: slots: 0%-20%")
    if document.slots is not None and document.layer is None:
        yield Problem(("slots",), "slots are a range of a layer, and none is named", "write layer: and its name")


def conflicts(placed: Sequence[Placed]) -> Iterator[Located]:
    """Where routes of one layer share units, or deal by different units and so might. Routes are without problems."""
    by_layer: dict[str, list[Placed]] = {}
    for each in placed:
        if each[1].layer is not None:
            by_layer.setdefault(each[1].layer, []).append(each)
    for layer, members in by_layer.items():
        yield from _unlike_units(layer, members)
        yield from _overlaps(layer, members)


def free_ranges(routes: Sequence[RouteDoc]) -> list[tuple[int, int]]:
    """What the routes of a layer leave of it, in ppm."""
    free, end = [], 0
    for start, stop in sorted(range_of(document) for document in routes):
        if start > end:
            free.append((end, start))
        end = max(end, stop)
    return free if end == WHOLE_PPM else [*free, (end, WHOLE_PPM)]


def range_of(document: RouteDoc) -> tuple[int, int]:
    """The range in ppm of a route that is in a layer."""
    assert document.slots is not None
    return range_ppm(document.slots)


def range_words(range_: tuple[int, int]) -> str:
    """A range as people write it."""
    return f"{percent(range_[0])}-{percent(range_[1])}"


def gates_of(document: RouteDoc, layers: LayersDoc, arms: Arms) -> tuple[Gate, ...]:
    """Who is left out, in the order in which it is asked: holdout, layer, audience."""
    outside = uncounted(arms.baseline, Reason.NOT_ENROLLED, arms)
    gates: list[Gate] = []
    if layers.holdout and share_ppm(layers.holdout.share):
        draw = held_out(layers.holdout.salt, share_ppm(layers.holdout.share))
        gates.append(Holdout(draw, uncounted(arms.baseline, Reason.HELD_OUT, arms)))
    if document.layer is not None:
        gates.append(Slots(document.layer, in_layer(_salt(layers, document.layer), range_of(document)), outside))
    places = {name: place for place, name in enumerate(document.attributes)}
    gates += [Audience(places[rule.attribute], frozenset(rule.values), outside) for rule in document.audience]
    return tuple(gates)


def _salt(layers: LayersDoc, name: str) -> str:
    return layers.layers[name].salt or name


def _unlike_units(layer: str, members: list[Placed]) -> Iterator[Located]:
    first, reference = members[0]
    for text, document in members[1:]:
        if _read_from(document.unit) != _read_from(reference.unit):
            what = f"layer '{layer}' deals by {_source(reference.unit)}, as route '{reference.route}' in {first.file}"
            cure = f"write unit: {_source(reference.unit)}, or use another layer: a unit has one place in a layer"
            yield text.located(Problem(("unit",), f"{what} does; here it is {_source(document.unit)}", cure))


def _overlaps(layer: str, members: list[Placed]) -> Iterator[Located]:
    """In the order of the line, only the range that reaches farthest so far can overlap the next one."""
    in_order = sorted(members, key=lambda placed: range_of(placed[1]))
    free = ", ".join(map(range_words, free_ranges([document for _, document in members])))
    far_text, far = in_order[0]
    for text, document in in_order[1:]:
        if range_of(document)[0] < range_of(far)[1]:
            what = f"{document.slots} of layer '{layer}' overlaps {far.slots} of route '{far.route}' in {far_text.file}"
            cure = f"give each unit to one of them; free is {free or 'nothing'}"
            yield text.located(Problem(("slots",), what, cure))
        if range_of(document)[1] > range_of(far)[1]:
            far_text, far = text, document


def _read_from(unit: SourceDoc) -> tuple[str, str | None]:
    return (unit.header or "").lower(), unit.parameter


def _source(unit: SourceDoc) -> str:
    return f"{{header: {unit.header}}}" if unit.header else f"{{parameter: {unit.parameter}}}"
