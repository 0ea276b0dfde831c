"""What a frontend knows of a request before anyone has looked inside it."""

import secrets
from collections.abc import Mapping
from itertools import count

from msgspec import Struct

from observability.propagation import Trace

REQUEST_ID_LIMIT = 128


class Arrival(Struct, frozen=True, gc=False):
    """One request at the door.

    `at` is Unix time, `started_at` the same moment on the monotonic clock. `event_id` is minted here and never
    repeats. `metadata` holds HTTP headers or gRPC metadata, names in lower case. `timeout_s` is what the caller gave
    by header or gRPC deadline, 0 for nothing. `trace` is None for what is neither sampled nor part of a trace.
    """

    at: float
    started_at: float
    event_id: str
    protocol: str
    metadata: Mapping[bytes, bytes]
    caller: str = ""
    timeout_s: float = 0.0
    trace: Trace | None = None


class Reply(Struct, frozen=True, gc=False):
    """What went back. `code` is "ok", "cancelled" or the code of an error; sizes are in bytes."""

    code: str
    request_bytes: int = 0
    response_bytes: int = 0
    http_status: int = 0
    grpc_status: str = ""
    error: str = ""


class EventIds:
    """Mints ids that are unique without asking anyone: 64 random bits of this process, then a counter."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._numbers = count(1)

    def mint(self) -> str:
        return f"{self._prefix}{next(self._numbers):012x}"


def request_id_of(arrival: Arrival, body_id: str) -> str:
    """The id that is echoed: the header's if it is printable ASCII of sane length, else the body's, else our own."""
    raw = arrival.metadata.get(b"x-request-id")
    if raw and len(raw) <= REQUEST_ID_LIMIT and raw.isascii() and raw.decode("ascii").isprintable():
        return raw.decode("ascii")
    return body_id or arrival.event_id


def context_of(arrival: Arrival, body_id: str) -> dict[str, str]:
    """The headers by which another server can tell which request and which trace it works for."""
    context = {"x-request-id": request_id_of(arrival, body_id)}
    if arrival.trace is not None:
        context["traceparent"] = arrival.trace.traceparent()
        if arrival.trace.tracestate:
            context["tracestate"] = arrival.trace.tracestate
    baggage = arrival.metadata.get(b"baggage")
    if baggage:
        context["baggage"] = baggage.decode("latin-1")
    return context
