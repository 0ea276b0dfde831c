"""What one request may take before anybody has looked at what it asks for."""

from msgspec import Struct


class Limits(Struct, frozen=True):
    """Bounds of one request, the same for both protocols.

    `body_bytes` bounds the body, packed and unpacked, and each tensor in it. `json_elements` bounds the elements of one
    tensor in JSON, where each costs some forty bytes while it is read. `body_s` is how long a body may take to arrive.
    `connection_s` is how old a gRPC connection may grow before its client is asked to make another, which lets a load
    balancer spread clients anew; 0 is no limit.
    """

    body_bytes: int = 64 << 20
    json_elements: int = 4 << 20
    body_s: float = 60.0
    connection_s: float = 0.0


DEFAULT_LIMITS = Limits()
