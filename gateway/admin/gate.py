"""What stands before the operator's side: the name it is asked under, the kind of body, and its size."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.admin.callers import host_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
BODY_LIMIT = 16 * 1024 * 1024  # bytes; a thousand routes take some two megabytes


class Gate:
    """Refuses, before anything is parsed, what a browser could be made to send for somebody else, and what is too long.

    A page on the web can have a name of its own resolve to this machine; it cannot have the browser say another Host.
    It can post forms; it cannot post JSON.
    """

    def __init__(self, app: App, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = host_of(headers.get(b"host", b"").decode("latin-1"))
        if host not in self._hosts:
            known = ", ".join(sorted(self._hosts))
            await _refuse(send, 403, f"nobody is called '{host[:100]}' here; it is {known}, or write admin_names:")
            return
        if scope["method"] == "POST" and not headers.get(b"content-type", b"").startswith(b"application/json"):
            await _refuse(send, 415, "write content-type: application/json")
            return
        body = await _read(receive)
        if body is None:
            await _refuse(send, 413, f"the body is longer than {BODY_LIMIT // 2**20} MiB")
            return
        await self._app(scope, _once(body, receive), send)


async def _read(receive: Receive) -> bytes | None:
    """The whole body, None for one that is too long or whose sender has gone."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or len(body) > BODY_LIMIT:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _once(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


async def _refuse(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
