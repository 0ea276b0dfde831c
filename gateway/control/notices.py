"""Notices: somebody is told what a rollout has done or needs, over webhooks that are signed, retried and bounded.

A notice has the sentence, the numbers and the safe thing to do. `x-turnout-signature` is `sha256=` and the HMAC-SHA-256
of the body under the receiver's secret, in hex; `x-turnout-notice` is the same for every attempt at one notice.
"""

import asyncio
import hmac
import json
import logging
import ssl
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

LOG = logging.getLogger("turnout.notices")
QUEUE_N = 256  # notices that wait for one receiver; the oldest is dropped for a new one
PAUSES_S = (1.0, 5.0, 30.0, 120.0, 600.0)  # between the attempts at one notice
ATTEMPT_S = 5.0
OUTCOMES = ("sent", "given_up", "dropped")  # dropped: the queue was full


class Occasion(StrEnum):
    """What somebody can be told of."""

    ROLLBACK = "rollback"
    HOLD = "hold"
    APPROVAL = "approval"
    PROMOTION = "promotion"
    SRM = "srm"
    EXPIRY = "expiry"
    FALLBACK_RATE = "fallback_rate"


class Receiver(Struct, frozen=True):
    """Where notices go. `on` are the occasions that it wants to hear of."""

    url: str
    secret: bytes
    on: frozenset[Occasion] = frozenset(Occasion)


class Notice(Struct, frozen=True):
    """One thing to tell. `key` is of what happened, so that it is told once; `at` is Unix time in seconds."""

    key: str
    occasion: Occasion
    route: str
    sentence: str
    action: str
    at: float
    numbers: Mapping[str, Any] = {}

    def body(self) -> bytes:
        told = {name: getattr(self, name) for name in ("key", "occasion", "route", "sentence", "action", "at")}
        return json.dumps(told | {"numbers": dict(self.numbers)}, ensure_ascii=False).encode()


Post = Callable[[Receiver, Notice], None]


class Notices:
    """Sends in the order of what happened, to each receiver by itself: one that is slow keeps no other waiting."""

    def __init__(
        self, receivers: Sequence[Receiver], post: Post | None = None, pauses_s: Sequence[float] = PAUSES_S
    ) -> None:
        self.counts: Counter[str] = Counter()  # by outcome
        self._receivers = [(receiver, deque[Notice](), asyncio.Event()) for receiver in receivers]
        self._post = post or send
        self._pauses_s = pauses_s

    @property
    def has_receivers(self) -> bool:
        return bool(self._receivers)

    def offer(self, notice: Notice) -> None:
        """Tell everybody who wants to hear of it, soon."""
        for receiver, queue, has_news in self._receivers:
            if notice.occasion not in receiver.on:
                continue
            if len(queue) >= QUEUE_N:
                queue.popleft()
                self.counts["dropped"] += 1
            queue.append(notice)
            has_news.set()

    async def keep(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for receiver, queue, has_news in self._receivers:
                group.create_task(self._serve(receiver, queue, has_news))

    async def _serve(self, receiver: Receiver, queue: deque[Notice], has_news: asyncio.Event) -> None:
        while True:
            await has_news.wait()
            if not queue:
                has_news.clear()
                continue
            notice = queue.popleft()
            outcome = "sent" if await self._tell(receiver, notice) else "given_up"
            self.counts[outcome] += 1

    async def _tell(self, receiver: Receiver, notice: Notice) -> bool:
        for pause_s in (*self._pauses_s, None):
            try:
                await asyncio.to_thread(self._post, receiver, notice)
            except (OSError, HTTPException) as error:
                LOG.warning("%s cannot be told of %s of %s: %s", receiver.url, notice.occasion, notice.route, error)
            else:
                return True
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        return False


def signature(secret: bytes, body: bytes) -> str:
    """What a receiver compares the header with, in constant time."""
    return "sha256=" + hmac.new(secret, body, "sha256").hexdigest()


def send(receiver: Receiver, notice: Notice) -> None:
    """One attempt. Raises OSError or HTTPException for whatever is not taken."""
    parts, body = urlsplit(receiver.url), notice.body()
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    extra: dict[str, Any] = {"context": ssl.create_default_context()} if parts.scheme == "https" else {}
    connection = connect(parts.hostname or "", parts.port, timeout=ATTEMPT_S, **extra)
    headers = {
        "content-type": "application/json",
        "user-agent": "turnout",
        "x-turnout-notice": notice.key,
        "x-turnout-signature": signature(receiver.secret, body),
    }
    try:
        connection.request("POST", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers)
        response = connection.getresponse()
        response.read(1024)
        if not 200 <= response.status < 300:
            raise OSError(f"it answered {response.status}")
    finally:
        connection.close()
