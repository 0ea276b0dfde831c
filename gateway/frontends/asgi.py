"""The few shapes of ASGI that the HTTP frontend touches, and the two replies that all of it sends.

The content type of JSON is exactly "application/json": one client drops an error's text when anything follows it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from msgspec import json

from gateway.frontends.status import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
CLOSE: Header = (b"connection", b"close")


async def send_bytes(send: Send, status: int, body: bytes, *headers: Header) -> None:
    """Send a whole response whose body has the given type among its `headers`."""
    listed = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})


async def send_refusal(send: Send, refusal: Refusal, *headers: Header) -> int:
    """Send an error and return how many bytes its body took."""
    body = json.encode({"error": refusal.text})
    retry = refusal.status.retry_after_s
    again = ((b"retry-after", b"%d" % retry),) if retry else ()
    await send_bytes(send, refusal.status.http, body, JSON_TYPE, *again, *headers)
    return len(body)
