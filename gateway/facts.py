"""Gathering facts: what the route asks to know of a request, and nothing more."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from gateway.arrival import Arrival
from gateway.errors import OverrideRefused, UnknownModel
from runners.core.tensor import InferenceRequest
from strategies.core.assignment import unit_bytes
from strategies.core.hashes import HASHES, HashName
from strategies.core.plan import RequestFacts

UNIT_PARAMETER = "turnout_unit"
SEQUENCE_PARAMETER = "sequence_id"
ARM_PARAMETER = "turnout_arm"
ARM_HEADER = b"x-turnout-arm"
TOKEN_HEADER = b"x-turnout-override-token"


class Source(Struct, frozen=True):
    """Where a fact is found: a header or gRPC metadata entry, or a V2 request parameter; "" for none of that kind."""

    header: bytes = b""
    parameter: str = ""

    def read(self, request: InferenceRequest, arrival: Arrival) -> str:
        """The fact as text, "" when absent. Bytes that are not UTF-8 survive as surrogates."""
        raw = arrival.metadata.get(self.header)
        if raw:
            return raw.decode("utf-8", "surrogateescape")
        value = request.parameters.get(self.parameter) if self.parameter else None
        return "" if value is None else str(value)


class Gatherer:
    """Turns a request into facts for one route. `pins` maps a version to its arm, empty when the route allows none."""

    def __init__(
        self,
        *,
        salt: str,
        unit: Source,
        attributes: tuple[Source, ...],
        arms: frozenset[str],
        may_force: Callable[[str, bytes, float], bool],
        hash_name: HashName = HashName.SHA256,
    ) -> None:
        """`may_force` says of an arm, a token and a Unix time whether the token forces that arm then."""
        chosen = HASHES[hash_name]
        self._salt = chosen.prefix(salt)
        self._point_of: Callable[[bytes, bytes], int] = chosen.point_of
        self._unit = unit
        self._attributes = attributes
        self._arms = arms
        self._may_force = may_force
        self.pins: Mapping[str, str] = {}

    def gather(self, request: InferenceRequest, arrival: Arrival) -> RequestFacts:
        """Raises OverrideRefused or UnknownModel for an arm or version the caller may not have."""
        unit = self._unit.read(request, arrival) or self._unit_from_parameters(request)
        return RequestFacts(
            event_id=arrival.event_id,
            unit=unit,
            point=self._point_of(self._salt, unit_bytes(unit or arrival.event_id)),
            attributes=tuple([source.read(request, arrival) for source in self._attributes]),
            override=self._override(request, arrival),
            pinned=self._pinned(request.version) if request.version else "",
        )

    def _unit_from_parameters(self, request: InferenceRequest) -> str:
        for name in (UNIT_PARAMETER, SEQUENCE_PARAMETER) if request.parameters else ():
            value = request.parameters.get(name)
            if value not in (None, "", 0):  # a sequence id of 0 means none, in the protocol's sequence extension
                return str(value)
        return ""

    def _override(self, request: InferenceRequest, arrival: Arrival) -> str:
        raw = arrival.metadata.get(ARM_HEADER)
        arm = raw.decode("utf-8", "replace") if raw else str(request.parameters.get(ARM_PARAMETER, ""))
        if not arm:
            return ""
        token = arrival.metadata.get(TOKEN_HEADER, b"")
        if not self._may_force(arm, token, arrival.at):
            raise OverrideRefused("forcing an arm needs an override token that is valid for it")
        if arm not in self._arms:
            raise UnknownModel(f"model '{request.model[:100]}' has no arm '{arm[:100]}'")
        return arm

    def _pinned(self, version: str) -> str:
        if version not in self.pins:
            known = ", ".join(self.pins) or "none: this route does not let clients choose"
            raise UnknownModel(f"no version '{version[:100]}' to ask for; there is {known}")
        return self.pins[version]
