"""One table from the codes of errors to what each protocol calls them.

UNAVAILABLE is kept for what is really away: KServe's gRPC client sends a call that got it three times, so an overloaded
server that used it would triple its own load.
"""

import logging
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from msgspec import Struct

from gateway.errors import GatewayError
from runners.core.errors import RunnerError

OK = "ok"
CANCELLED = "cancelled"
INTERNAL = "internal"  # a defect of the gateway itself; the reason is in its log, not in the answer
TEXT_LIMIT = 1000  # characters of an error's text that are sent; some of it may be the caller's own

LOG = logging.getLogger("turnout.frontends")


class GrpcCode(IntEnum):
    """The codes of gRPC, by the names that all its libraries use."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Status(Struct, frozen=True):
    """What one code is in HTTP and in gRPC. `retry_after_s` is 0 where trying again cannot help."""

    http: int
    grpc: GrpcCode
    retry_after_s: int = 0


class Refusal(Struct, frozen=True):
    """An error as it is told to a caller. `text` is one printable line."""

    code: str
    status: Status
    text: str


STATUSES: Mapping[str, Status] = MappingProxyType(
    {
        OK: Status(200, GrpcCode.OK),
        "malformed": Status(400, GrpcCode.INVALID_ARGUMENT),
        "invalid_input": Status(400, GrpcCode.INVALID_ARGUMENT),
        "forbidden": Status(403, GrpcCode.PERMISSION_DENIED),
        "not_found": Status(404, GrpcCode.NOT_FOUND),
        "method_not_allowed": Status(405, GrpcCode.UNIMPLEMENTED),
        "too_large": Status(413, GrpcCode.RESOURCE_EXHAUSTED),
        "unsupported_encoding": Status(415, GrpcCode.UNIMPLEMENTED),
        "overload": Status(429, GrpcCode.RESOURCE_EXHAUSTED, retry_after_s=1),
        CANCELLED: Status(499, GrpcCode.CANCELLED),  # nobody is left to read it; it stands in events alone
        "error": Status(500, GrpcCode.INTERNAL),
        "invalid_output": Status(500, GrpcCode.INTERNAL),
        INTERNAL: Status(500, GrpcCode.INTERNAL),
        "not_implemented": Status(501, GrpcCode.UNIMPLEMENTED),
        "not_ready": Status(503, GrpcCode.UNAVAILABLE, retry_after_s=1),
        "draining": Status(503, GrpcCode.UNAVAILABLE, retry_after_s=1),
        "timeout": Status(504, GrpcCode.DEADLINE_EXCEEDED),
    }
)


def refusal_of(error: Exception) -> Refusal:
    """What to tell the caller about an error. One that is nobody's by design is logged, and named "internal".

    The error loses its traceback, and thus the frames with the request's body, which may be in a ring with it.
    """
    trace = error.__traceback__
    error.__traceback__ = None
    if isinstance(error, GatewayError | RunnerError):
        return Refusal(error.code, STATUSES[error.code], printable(str(error)) or error.code)
    LOG.error("a request broke the gateway: %s", type(error).__name__, exc_info=(type(error), error, trace))
    return Refusal(INTERNAL, STATUSES[INTERNAL], "internal error")


def printable(text: str) -> str:
    """`text` cut to its limit, with "?" for what could end a line or cannot be encoded."""
    text = text[:TEXT_LIMIT]
    return text if text.isprintable() else "".join([char if char.isprintable() else "?" for char in text])
