"""The intake of clicks in a worker: verifies, asks the control process to keep, and tells what each click came to."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

from msgspec import Struct

from gateway.feedback.keys import Keys, keys_of
from gateway.feedback.token import Sealed, TokenFault, click_of, unseal
from gateway.link import Click, Clicked
from runners.core.errors import NotReady, Overloaded

ACCEPTED, DUPLICATE, LATE = "accepted", "duplicate", "late"
FORGED, FOREIGN, UNKNOWN_ITEM = "forged", "foreign", "unknown_item"
DROPPED = "dropped"
RESULTS = (ACCEPTED, DUPLICATE, LATE, FORGED, FOREIGN, UNKNOWN_ITEM, DROPPED)
WAITING_LIMIT = 10_000  # clicks of one worker that wait to be kept; a click takes about 300 bytes
ANSWER_LIMIT_S = 10.0  # a writer waits up to 5 s for its turn at the state
AGAIN = "send it again: a click counts once however often it is sent"


class ClickedItem(Struct, frozen=True, forbid_unknown_fields=True):
    """A click as a caller tells it: the item by its id, as text or as a whole number."""

    item: str | int
    row: int = 0


class Taken(Struct, frozen=True):
    """What a token's clicks came to, in the order in which they were told. `sealed` is None for a worthless token."""

    sealed: Sealed | None
    results: tuple[str, ...]
    fault: str = ""


class Intake:
    """Takes clicks. What is under way is bounded, and whatever is not kept is counted as dropped."""

    def __init__(self, secret: bytes, window_s: float, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells Unix time in seconds."""
        self.keys: Keys = keys_of(secret)
        self.window_s = window_s
        self._counts: Counter[tuple[str, str]] = Counter()  # by route and result
        self.waiting_n = 0
        self._clock = clock
        self._send: Callable[[Clicked], None] | None = None
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Sequence[str]]] = {}

    def connect(self, send: Callable[[Clicked], None]) -> None:
        """From now on there is somebody who keeps clicks."""
        self._send = send

    def disconnect(self) -> None:
        """Nobody keeps clicks any more; those who wait are told."""
        self._send = None
        for asked in self._asked.values():
            if not asked.done():
                asked.set_result(())

    def answer(self, number: int, results: Sequence[str]) -> None:
        """What became of the clicks that were sent under a number; none if they could not be kept."""
        asked = self._asked.get(number)
        if asked is not None and not asked.done():
            asked.set_result(results)

    async def take(self, token: str, clicks: Sequence[ClickedItem]) -> Taken:
        """Have all clicks on one answer kept. Raises Overloaded or NotReady when they are not, now."""
        try:
            sealed = unseal(self.keys, token, now=self._clock(), window_s=self.window_s)
        except TokenFault as fault:
            self._counts["", fault.code] += len(clicks)
            return Taken(None, (fault.code,) * len(clicks), str(fault))
        found = [click_of(sealed, each.row, str(each.item)) for each in clicks]
        known = [click for click in found if click is not None]
        kept = iter(await self._keep(sealed.route, known) if known else ())
        results = tuple(UNKNOWN_ITEM if click is None else next(kept) for click in found)
        for result in results:
            self._counts[sealed.route, result] += 1
        return Taken(sealed, results)

    def counted(self) -> list[tuple[tuple[str, str], int]]:
        """How many clicks of which route came to what. Callable from any thread."""
        return list(self._counts.items())

    async def _keep(self, route: str, clicks: list[Click]) -> Sequence[str]:
        if self.waiting_n + len(clicks) > WAITING_LIMIT:
            self._counts[route, DROPPED] += len(clicks)
            raise Overloaded(f"{self.waiting_n} clicks wait to be kept already; {AGAIN}")
        results = await self._ask(clicks)
        if len(results) != len(clicks):
            self._counts[route, DROPPED] += len(clicks)
            raise NotReady(f"the clicks could not be kept; {AGAIN}")
        return results

    async def _ask(self, clicks: list[Click]) -> Sequence[str]:
        """What each click came to; nothing when nobody says in time."""
        if self._send is None:
            return ()
        number = next(self._numbers)
        asked: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        self.waiting_n += len(clicks)
        try:
            self._send(Clicked(number, clicks))
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return await asked
        except TimeoutError:
            return ()
        finally:
            self.waiting_n -= len(clicks)
            del self._asked[number]
