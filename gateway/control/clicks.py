"""Where the clicks of all workers come together: kept in the state in batches, and settled when their window closes."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from msgspec import Struct

from gateway.link import Click, Clicked, Kept
from gateway.state.clicks import SETTLE_LIMIT
from gateway.state.errors import StateError
from gateway.state.shelf import Shelf
from observability.sinks.key import read_or_create_key, replace_key

LOG = logging.getLogger("turnout.control")
KEY_FILE = "feedback.key"
WAITING_LIMIT = 50_000  # clicks of all workers that wait for the state
BATCH = 1000  # clicks in one transaction
SETTLE_EVERY_S = 1.0
FORGET_EVERY_S = 3600.0
UNITS_LAST_S = 30 * 86_400.0  # what units said is forgotten when none of their lists was settled for so long


class _Waiting(Struct, frozen=True):
    clicks: list[Click]
    number: int
    answer: Callable[[Kept], None]


class ClickDesk:
    """Takes clicks from the event loop; the state is written in threads that step back for those who answer."""

    def __init__(self, shelf: Shelf, window_s: float) -> None:
        self._shelf = shelf
        self._window_s = window_s
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._waiting_n = 0

    def take(self, clicked: Clicked, answer: Callable[[Kept], None]) -> None:
        """Have clicks kept, and answered when they are. Too many are refused at once, which their worker counts."""
        if self._waiting_n + len(clicked.clicks) > WAITING_LIMIT:
            answer(Kept(clicked.number, []))
            return
        self._waiting_n += len(clicked.clicks)
        self._waiting.put_nowait(_Waiting(clicked.clicks, clicked.number, answer))

    def works(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What is to be done while the gateway serves."""
        return self.keep(), self.settle()

    async def keep(self) -> None:
        """Keep clicks until cancelled."""
        while True:
            batch = await self._batch()
            clicks = [click for each in batch for click in each.clicks]
            try:
                results = await asyncio.to_thread(self._store, clicks)
            except StateError as error:
                LOG.warning("%d clicks could not be kept: %s", len(clicks), error)
                results = []
            except Exception:  # a defect must cost these clicks alone, not all that come until the next start
                LOG.exception("%d clicks could not be kept", len(clicks))
                results = []
            self._waiting_n -= len(clicks)
            at = 0
            for each in batch:
                each.answer(Kept(each.number, results[at : at + len(each.clicks)]))
                at += len(each.clicks)

    async def settle(self) -> None:
        """Settle lists whose window has closed, until cancelled."""
        forget_at = 0.0
        while True:
            try:
                while await asyncio.to_thread(self._settle) == SETTLE_LIMIT:
                    pass
                if time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + FORGET_EVERY_S
                    await asyncio.to_thread(self._forget)
            except StateError as error:
                LOG.warning("clicked lists wait to be settled: %s", error)
            except Exception:
                LOG.exception("clicked lists could not be settled")
            await asyncio.sleep(SETTLE_EVERY_S)

    async def _batch(self) -> list[_Waiting]:
        """What waits, at least one, and no more than one transaction should hold unless a single message does."""
        batch = [await self._waiting.get()]
        clicks_n = len(batch[0].clicks)
        while clicks_n < BATCH and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
            clicks_n += len(batch[-1].clicks)
        return batch

    def _store(self, clicks: list[Click]) -> list[str]:
        return self._shelf.clicks().keep(clicks)

    def _settle(self) -> int:
        return self._shelf.clicks().settle(time.time(), self._window_s)

    def _forget(self) -> None:
        self._shelf.clicks().forget_units(time.time() - UNITS_LAST_S)


def feedback_secret(shelf: Shelf, state: Path) -> bytes:
    """The secret of all gateways that share the state, kept in the state and, for when that is away, in a file.

    Raises OSError or ValueError when the file cannot be used.
    """
    ours = read_or_create_key(state / KEY_FILE)
    try:
        shared = shelf.clicks().share_secret(ours)
    except StateError as error:
        LOG.warning("tokens for feedback are signed with a key of this gateway's own: %s", error)
        return ours
    if shared != ours:
        replace_key(state / KEY_FILE, shared)
    return shared
