"""Enrolment: who takes part at all. Gates are asked in order before the route's own map, and a unit stays at the first.

Holdout and layers hash the unit with prefixes of their own. Hence they are independent of each other and of every
route's map, and all routes that use the same one agree on it without knowing of each other.
Source: Tang, Agarwal, O'Brien, Meyer (2010), Overlapping experiment infrastructure, KDD.
"""

from msgspec import Struct

from strategies.core.assignment import POINTS, SEPARATOR, point_of, unit_bytes, width_of
from strategies.core.plan import WHOLE_PPM, Plan, RequestFacts


class Draw(Struct, frozen=True):
    """A line on which every unit has a place, and a range [start, end) of it in points; `range_ppm` is the same."""

    salt: str
    prefix: bytes  # is hashed before the unit
    range_ppm: tuple[int, int]
    start: int
    end: int

    def point_of(self, facts: RequestFacts) -> int:
        """A request that brought no unit stands for itself here too."""
        return point_of(self.prefix, unit_bytes(facts.unit or facts.event_id))

    def takes(self, facts: RequestFacts) -> bool:
        return self.start <= self.point_of(facts) < self.end

    @property
    def ppm(self) -> int:
        """The share of all units that is drawn."""
        return self.range_ppm[1] - self.range_ppm[0]


class Holdout(Struct, frozen=True):
    """A share of all units that meets no experiment on any route."""

    draw: Draw
    instead: Plan

    def leaves_out(self, facts: RequestFacts) -> bool:
        return self.draw.takes(facts)


class Slots(Struct, frozen=True):
    """A route's range of a layer. Routes whose ranges are disjoint never share a unit."""

    layer: str
    draw: Draw
    instead: Plan

    def leaves_out(self, facts: RequestFacts) -> bool:
        return not self.draw.takes(facts)


class Audience(Struct, frozen=True):
    """Only units whose attribute (by its place in the facts) has one of these values take part."""

    attribute: int
    values: frozenset[str]
    instead: Plan

    def leaves_out(self, facts: RequestFacts) -> bool:
        return facts.attributes[self.attribute] not in self.values


Gate = Holdout | Slots | Audience


def held_out(salt: str, share_ppm: int) -> Draw:
    """The lowest points of SHA-256(salt 0x1F "holdout" 0x1F unit), so that a larger share only adds units."""
    return _draw(salt, b"holdout", (0, share_ppm))


def in_layer(salt: str, range_ppm: tuple[int, int]) -> Draw:
    """Points of SHA-256(salt 0x1F "layer" 0x1F unit): never those of a route, whatever salt that one has."""
    return _draw(salt, b"layer", range_ppm)


def _draw(salt: str, what: bytes, range_ppm: tuple[int, int]) -> Draw:
    start, end = (POINTS if ppm == WHOLE_PPM else width_of(ppm) for ppm in range_ppm)
    return Draw(salt, SEPARATOR.join((salt.encode(), what, b"")), range_ppm, start, end)
