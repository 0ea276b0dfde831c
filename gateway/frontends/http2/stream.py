"""One stream of a connection: what both sides may still send, and what waits to be sent."""

from collections import deque
from collections.abc import Callable
from typing import Any


class Stream:
    """A request and its answer. It is known to its connection until both sides have ended it or one has reset it."""

    __slots__ = (
        "call",
        "has_ended",
        "head",
        "held_n",
        "id",
        "is_heard",
        "on_sent",
        "outbox",
        "receive_window",
        "reserved_n",
        "send_window",
        "since",
        "trailers",
        "unsent_n",
        "unsent_seen_n",
        "wanted_n",
    )

    def __init__(self, stream_id: int, head: Any, receive_window: int, send_window: int) -> None:
        """`head` is what the connection's parser made of the request's headers."""
        self.id = stream_id
        self.head = head
        self.call: Any = None  # whoever answers keeps what it knows of the call here
        self.is_heard = False  # the peer has sent all it will
        self.has_ended = False  # so have we, or the stream was reset: nothing goes out any more
        self.receive_window = receive_window
        self.send_window = send_window
        self.held_n = 0  # bytes received and not yet taken by whoever answers
        self.reserved_n = 0  # of the connection's room for large messages
        self.wanted_n = 0  # bytes that wait for such room
        self.outbox: deque[bytes | memoryview] = deque()
        self.trailers: bytes | None = None
        self.on_sent: Callable[[], None] | None = None  # called when the outbox has become empty
        self.unsent_n = 0  # bytes in the outbox
        self.unsent_seen_n = 0  # the same, as the last sweep found it
        self.since = 0.0  # the last sweep that found it otherwise
