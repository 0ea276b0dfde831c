"""What a change does to who takes part: exact, from the ranges on the lines of holdout and layer. Pure."""

from collections.abc import Iterator

from gateway.config.compiled import CompiledRoute
from strategies.core.enrolment import Draw
from strategies.core.spec import percent


def enrolment_words(before: CompiledRoute, after: CompiledRoute) -> Iterator[str]:
    """The change of the holdout, then that of the route's part of its layer."""
    yield from _holdout_words(before.holdout, after.holdout)
    yield from _layer_words(before, after)


def layer_of(route: CompiledRoute) -> tuple[str, str]:
    """What a place in the route's layer stands for; another one begins another experiment."""
    return (route.slots.layer, route.slots.draw.salt) if route.slots else ("", "")


def _holdout_words(before: Draw | None, after: Draw | None) -> Iterator[str]:
    if before is None and after is not None:
        yield f"{percent(after.ppm)} of all units are held out: they get the baseline"
    elif before is not None and after is None:
        yield f"nobody is held out any more, {percent(before.ppm)} of all units were"
    elif before is not None and after is not None and before.salt != after.salt:
        yield f"the holdout is drawn afresh: {percent(after.ppm)} of all units, not those of before"
    elif before is not None and after is not None and before.ppm != after.ppm:
        more = after.ppm - before.ppm
        held = f"{percent(more)} more" if more > 0 else f"{percent(-more)} less"
        yield f"{held} of all units are held out: {percent(before.ppm)} → {percent(after.ppm)}"


def _layer_words(before: CompiledRoute, after: CompiledRoute) -> Iterator[str]:
    old, new = before.slots, after.slots
    if new is None and old is not None:
        yield f"the route has left layer {old.layer}: every unit takes part, {percent(old.draw.ppm)} of them did"
    elif new is not None and old is None:
        yield f"the route is in layer {new.layer}: {percent(new.draw.ppm)} of units take part, others get the baseline"
    elif new is not None and old is not None and new.draw.salt != old.draw.salt:
        yield f"layer {new.layer} draws afresh who takes part: {percent(new.draw.ppm)} of units"
    elif new is not None and old is not None and new.draw.range_ppm != old.draw.range_ppm:
        begin, cease = _beyond(new.draw.range_ppm, old.draw.range_ppm), _beyond(old.draw.range_ppm, new.draw.range_ppm)
        ceasing = f"{percent(cease)} cease to" if cease else "none cease to"
        yield f"{percent(begin)} of all units begin to take part, {ceasing}"


def _beyond(range_: tuple[int, int], other: tuple[int, int]) -> int:
    """How much of a range lies outside another one, in ppm."""
    shared = max(0, min(range_[1], other[1]) - max(range_[0], other[0]))
    return range_[1] - range_[0] - shared
