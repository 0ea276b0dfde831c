"""The slices of an A/B test or a canary: what its document says of them, and whether that can be counted."""

from collections.abc import Iterator

from gateway.config.documents import RouteDoc
from gateway.slicing import Slicing
from strategies.core.spec import Problem
from strategies.evidence.slices import OTHER, named

SLICES_LIMIT = 16  # of a route, with one for all other values of each attribute
VALUE_LIMIT = 64  # characters


def slicings_of(document: RouteDoc) -> tuple[Slicing, ...]:
    """How a checked document's requests are sliced."""
    places = {name: place for place, name in enumerate(document.attributes)}
    return tuple(
        Slicing(places[attribute], {value: named(attribute, value) for value in values}, named(attribute, OTHER))
        for attribute, values in _written(document).items()
    )


def slices_of(document: RouteDoc) -> tuple[str, ...]:
    """The names of all slices of a checked document."""
    return tuple(name for each in slicings_of(document) for name in (*each.names.values(), each.other))


def slice_problems(document: RouteDoc) -> Iterator[Problem]:
    """What is wrong with them."""
    written = _written(document)
    for attribute, values in written.items():
        path = ("strategy", "slices", attribute)
        if attribute not in document.attributes:
            cure = f"declare it, for example attributes: {{{attribute}: {{header: x-{attribute}}}}}"
            yield Problem(path, f"no attribute is called '{attribute}'", cure)
        if not values:
            yield Problem(path, "a slice is a value, and there is none", f"write for example {attribute}: [A, B]")
        for place, value in enumerate(values):
            if not 0 < len(value) <= VALUE_LIMIT or value == OTHER:
                what = f"'{value[:VALUE_LIMIT]}' cannot name a slice"
                cure = f"write 1 to {VALUE_LIMIT} characters; '{OTHER}' are all values that are not listed, or none"
                yield Problem((*path, place), what, cure)
            elif value in values[:place]:
                yield Problem((*path, place), f"'{value}' is listed twice", "name each value once")
    slices_n = sum(len(values) + 1 for values in written.values())
    if slices_n > SLICES_LIMIT:
        what = f"these are {slices_n} slices with one for all other values of each attribute"
        yield Problem(("strategy", "slices"), what, f"a route has at most {SLICES_LIMIT}: list the values that matter")


def _written(document: RouteDoc) -> dict[str, tuple[str, ...]]:
    return getattr(document.strategy, "slices", {})
