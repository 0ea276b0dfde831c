"""Why a connection of HTTP ends before its request reaches the application."""

from msgspec import Struct


class Refused(Struct, frozen=True):
    """Why a connection ends below the application. `code` names it in the metrics."""

    code: str
    status: int
    text: str


NO_REQUEST = Refused("malformed", 400, "this is no request of HTTP 1.1")
TOO_MANY_HEADERS = Refused("head_too_large", 431, "too many headers")
HEAD_TOO_LARGE = Refused("head_too_large", 431, "the head of the request is too large")
HEAD_TOO_SLOW = Refused("head_timeout", 408, "the head of the request did not arrive in time")
TOO_MANY_CONNECTIONS = Refused("too_many_connections", 503, "too many connections")
