"""What a gRPC method is told of a call and what it gives back: values, whoever stands between it and the wire."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from time import monotonic

from msgspec import Struct

from gateway.frontends.grpc_wire import ALREADY_LATE_S
from gateway.frontends.status import Refusal

Body = bytes | bytearray


class Call(Struct, frozen=True, gc=False):
    """One call. `deadline_at` is monotonic seconds, 0 for none; `caller` is the peer's address without its port."""

    metadata: Mapping[bytes, bytes]
    deadline_at: float = 0.0
    caller: str = ""

    def time_left_s(self) -> float:
        """0 if there is no deadline, and a hair more than that if it has passed."""
        return max(self.deadline_at - monotonic(), ALREADY_LATE_S) if self.deadline_at else 0.0


class Answer(Struct, frozen=True, gc=False):
    """What goes back to one request: a serialised message, or the reason why there is none.

    `metadata` is part of a header block: of the first, or of the only one if it is a refusal.
    """

    body: bytes = b""
    metadata: bytes = b""
    refusal: Refusal | None = None


Unary = Callable[[Body, Call], Awaitable[Answer]]
Streaming = Callable[[AsyncGenerator[Body, None], Call], AsyncGenerator[bytes, None]]


class Method(Struct, frozen=True):
    """One of the two. An error that leaves either ends the call as status.py has it."""

    unary: Unary | None = None
    streaming: Streaming | None = None
