"""Slices: parts of a route's requests, by declared values of an attribute, whose evidence is kept apart as well."""

from collections.abc import Mapping, Sequence

from msgspec import Struct


class Slicing(Struct, frozen=True):
    """One attribute: the slices' names by its declared values, and that of all other requests.

    `place` is where the attribute stands among a request's.
    """

    place: int
    names: Mapping[str, str]
    other: str

    def of(self, attributes: Sequence[str]) -> str:
        """The slice of a request."""
        return self.names.get(attributes[self.place], self.other)
