"""Leases: who still needs which opened model. An endpoint is closed when the last table that has it lets it go.

Where spares are kept (spares.py), that is a moment later.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from gateway.routing.spares import Spares
from runners.core.runner import Endpoint, ModelRef, Runner


class _Held:
    __slots__ = ("endpoint", "holders_n", "is_known", "key")

    def __init__(self, key: str, endpoint: Endpoint, *, is_known: bool) -> None:
        """`is_known` says that the key names what the endpoint holds to the last byte."""
        self.key = key
        self.endpoint = endpoint
        self.is_known = is_known
        self.holders_n = 1


class Leases:
    """All endpoints of a process. Used from the event loop alone."""

    def __init__(self, runner: Callable[[str], Runner], spares: Spares | None = None) -> None:
        """`runner` finds a runner by its word, or raises LoadRefused. Without `spares` none are kept."""
        self._runner = runner
        self._spares = spares
        self._held: defaultdict[str, list[_Held]] = defaultdict(list)
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def endpoints_n(self) -> int:
        """How many are open."""
        return sum(map(len, self._held.values()))

    async def take(self, word: str, model: ModelRef, digest: str, mine: Iterable[_Held]) -> _Held:
        """An endpoint of that model which is not among `mine`, opened if no table has one. Raises LoadRefused."""
        key = f"{word} {digest} {model!r}"
        for held in self._held[key]:
            if held not in mine:
                held.holders_n += 1
                return held
        endpoint = self._spares.take(key) if self._spares else None
        if endpoint is None:
            endpoint = await self._runner(word).open(model)
        held = _Held(key, endpoint, is_known=digest != "" and endpoint.description.digest == digest)
        self._held[key].append(held)
        return held

    def again(self, endpoint: Endpoint) -> _Held:
        """One more lease of an endpoint that somebody has."""
        held = next(held for those in self._held.values() for held in those if held.endpoint is endpoint)
        held.holders_n += 1
        return held

    async def give_back(self, held: _Held) -> None:
        """Let go; the last one closes it, or keeps it as a spare."""
        held.holders_n -= 1
        if held.holders_n:
            return
        self._held[held.key].remove(held)
        if not self._held[held.key]:
            del self._held[held.key]
        if self._spares and held.is_known:
            asyncio.get_running_loop().call_later(self._spares.keep_s, self._clear_out)
            await _close_all(self._spares.keep(held.key, held.endpoint))
        else:
            await held.endpoint.close()

    async def close(self) -> None:
        """Close what nobody needs. From now on nothing is kept."""
        if self._spares:
            await _close_all(self._spares.clear())
        await asyncio.gather(*self._closing)

    def _clear_out(self) -> None:
        overdue = self._spares.overdue() if self._spares else ()
        if overdue:
            task = asyncio.get_running_loop().create_task(_close_all(overdue))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close_all(endpoints: Iterable[Endpoint]) -> None:
    for endpoint in endpoints:
        await endpoint.close()


class Lease:
    """What one table has of them."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._mine: list[_Held] = []

    async def open(self, word: str, model: ModelRef, digest: str) -> tuple[Endpoint, bool]:
        """An endpoint of that model, of its own within this table, and whether it was opened for it.

        One that an earlier table has will do. Raises LoadRefused.
        """
        held = await self._leases.take(word, model, digest, self._mine)
        self._mine.append(held)
        return held.endpoint, held.holders_n == 1

    def share(self, endpoint: Endpoint) -> None:
        """Keep one that an earlier table has."""
        self._mine.append(self._leases.again(endpoint))

    async def drop(self, endpoint: Endpoint) -> None:
        """Let go of one before the end."""
        held = next(held for held in self._mine if held.endpoint is endpoint)
        self._mine.remove(held)
        await self._leases.give_back(held)

    async def end(self) -> None:
        """Let go of all. Whoever calls one of them afterwards is told that it is closed, if nobody else has it."""
        while self._mine:
            await self._leases.give_back(self._mine.pop())
