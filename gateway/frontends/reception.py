"""Reception: what both frontends do at the door, before they know what a request holds."""

from collections.abc import Mapping
from time import monotonic, time
from typing import NoReturn

from gateway.arrival import Arrival, EventIds
from gateway.errors import Malformed
from observability.tracing import Tracing

TIMEOUT_HEADER = b"x-request-timeout-ms"
UNREADABLE = -1.0  # stands in an arrival for a timeout that is no positive number; the frontend refuses it


class Reception:
    """Gives every request its id, its times, its trace and its deadline."""

    def __init__(self, tracing: Tracing) -> None:
        self._mint = EventIds().mint
        self._begin = tracing.begin

    def arrive(self, protocol: str, metadata: Mapping[bytes, bytes], caller: str, timeout_s: float = 0.0) -> Arrival:
        """Note a request down. Never raises, so that whatever is refused later can be recorded.

        `timeout_s` is a deadline that the transport itself carried, 0 for none; the header can only shorten it.
        """
        look = metadata.get
        given = look(TIMEOUT_HEADER)
        if given is not None:
            timeout_s = earliest(timeout_s, given)
        trace = self._begin(look(b"traceparent"), look(b"tracestate"))
        return Arrival(time(), monotonic(), self._mint(), protocol, metadata, caller, timeout_s, trace)


def refuse_timeout() -> NoReturn:
    """Raises Malformed, for an arrival whose timeout was UNREADABLE."""
    raise Malformed("header 'x-request-timeout-ms' must be a number of milliseconds above 0")


def earliest(timeout_s: float, given_ms: bytes) -> float:
    """The shorter of a timeout in seconds (0: none) and one in milliseconds as a header has it, or UNREADABLE."""
    try:
        given_s = float(given_ms) / 1e3
    except ValueError:
        return UNREADABLE
    if not 0 < given_s < float("inf"):
        return UNREADABLE
    return min(timeout_s, given_s) if timeout_s else given_s
