"""What stands before the operator's side: the name it is asked under, the kind of body, who asks, and how much."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from gateway.admin.callers import Callers, Denied, host_of
from gateway.state.errors import StateError
from gateway.state.tokens import TokenRole

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
BODY_LIMIT = 16 * 1024 * 1024  # bytes; a thousand routes take some two megabytes
DOCUMENT = "/openapi.json"  # the one thing that anybody may see: it says nothing of what is served
APPROVE = "/approve"  # how the paths end that a second person asks for
LOOKS = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
TOO_LONG = f"the body is longer than {BODY_LIMIT // 2**20} MiB"


class Gate:
    """Refuses, before anything is read, what a browser could be made to send for somebody else, and who may not ask.

    A page on the web can have a name of its own resolve to this machine; it cannot have the browser say another Host.
    It can post forms; it cannot post JSON. To look takes the role `observe`, all else `operate`, on every path: one
    that is added is closed from the start.
    """

    def __init__(self, app: App, callers: Callers, hosts: frozenset[str]) -> None:
        self._app = app
        self._callers = callers
        self._hosts = hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        status, why = self._objection(scope["method"], headers)
        if not why and scope["path"] != DOCUMENT:
            try:
                scope["state"] = {"caller": await asyncio.to_thread(self._admit, scope, headers)}
            except Denied as denied:
                status, why = denied.status, str(denied)
            except StateError as error:
                status, why = 503, str(error)
        if why:
            await _refuse(send, status, why)
            return
        await self._app(scope, _bounded(receive), send)

    def _objection(self, method: str, headers: Mapping[bytes, bytes]) -> tuple[int, str]:
        """Status and reason, "" for none."""
        host = host_of(headers.get(b"host", b"").decode("latin-1"))
        if host not in self._hosts:
            known = ", ".join(sorted(self._hosts))
            return 403, f"nobody is called '{host[:100]}' here; it is {known}, or write listen: {{admin_names: [NAME]}}"
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if method == "POST" and kind != b"application/json":  # a form knows no other method that changes anything
            return 415, "write content-type: application/json"
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > BODY_LIMIT:
            return 413, TOO_LONG
        return 0, ""

    def _admit(self, scope: Message, headers: Mapping[bytes, bytes]) -> object:
        method, path = scope["method"], scope["path"]
        role = TokenRole.OBSERVE if method in LOOKS else _role_to_change(path)
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        said = headers.get(b"x-turnout-author", b"").decode("utf-8", "replace")
        return self._callers.admit(authorization, said, role, f"{method} {path}")


def _role_to_change(path: str) -> TokenRole:
    """Who may operate may not approve: that is for somebody else."""
    return TokenRole.APPROVE if path.endswith(APPROVE) else TokenRole.OPERATE


def _bounded(receive: Receive) -> Receive:
    """The body as it comes, as far as it may go."""
    read_n = 0

    async def bounded() -> Message:
        nonlocal read_n
        message = await receive()
        read_n += len(message.get("body", b""))
        if read_n > BODY_LIMIT:
            raise HTTPException(413, TOO_LONG)
        return message

    return bounded


async def _refuse(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
