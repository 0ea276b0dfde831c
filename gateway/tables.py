"""Routing tables from warm to gone: opened beside the live one, swapped in, drained, let go."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from gateway.config.bind import Binder, Bound
from gateway.config.compiled import CompiledRoute
from gateway.execution.shadows import ShadowPool
from gateway.routing.router import Router
from gateway.routing.table import BoundRoute

# The longest that a thread which opens a model keeps the interpreter from requests; 5 ms is usual. It ought to shorten
# the longest waits, and has not been shown to: in three pairs of runs p99 was the same within the noise.
TURN_S = 0.0005
LOOK_S = 0.05  # between two looks at whether a table's last requests have been answered


class Tables:
    """The tables of one process. One is live; others are warm and wait for their turn, or finish their requests."""

    def __init__(self, binder: Binder, live: Bound, router: Router, shadows: ShadowPool, drain_s: float) -> None:
        """`live` is what `router` serves. `drain_s` is the longest that a table's requests are waited for."""
        self._binder = binder
        self._live = live
        self._router = router
        self._shadows = shadows
        self._drain_s = drain_s
        self._warm: dict[int, Bound] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._is_closing = False

    @property
    def live(self) -> Bound:
        return self._live

    @property
    def retiring_n(self) -> int:
        """Tables that were live and whose requests are not all answered."""
        return len(self._retiring)

    async def warm(self, number: int, routes: Sequence[CompiledRoute]) -> Bound:
        """Open what revision `number` needs and the live table does not have. The live table serves on."""
        async with self._turn:
            await self._forget_warm()  # only one waits: those before were given up
            with _eager_turns():
                self._warm[number] = await self._binder.bind(number, routes, self._live)
            return self._warm[number]

    def swap(self, number: int) -> bool:
        """Make a warm table live, between two requests. False when there is none of that number."""
        if number not in self._warm:
            return False
        before, self._live = self._live, self._warm.pop(number)
        self._router.swap(self._live.table)
        self._live.show()
        leaving = before.leaving(self._live.table)  # now: the next swap may come before the task's first step
        task = asyncio.get_running_loop().create_task(self._retire(before, leaving))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        return True

    async def discard(self, number: int) -> None:
        """Close what was opened for a table that will not be live."""
        async with self._turn:
            if number in self._warm:
                await self._forget_warm()

    async def close(self) -> None:
        """Let go of every table, whoever still waits."""
        self._is_closing = True
        await asyncio.gather(*self._retiring)
        await self._forget_warm()
        await self._live.lease.end()

    async def _forget_warm(self) -> None:
        while self._warm:
            _, bound = self._warm.popitem()
            await _end(bound, bound.leaving(self._live.table))

    async def _retire(self, bound: Bound, leaving: tuple[BoundRoute, ...]) -> None:
        """Wait for the answers that are due under a table, shadows included, then let it go."""
        until = monotonic() + self._drain_s
        # Looking now and then costs requests nothing; being told by each of them that it was the last would.
        while not self._is_closing and any(map(self._is_busy, leaving)) and monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        await _end(bound, leaving)

    def _is_busy(self, route: BoundRoute) -> bool:
        return route.meter.inflight_n > 0 or self._shadows.holds(route)


@contextmanager
def _eager_turns() -> Iterator[None]:
    """Have threads take turns more often. Between two calls to a small model a request would wait 5 ms for its own."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual_s)


async def _end(bound: Bound, leaving: tuple[BoundRoute, ...]) -> None:
    for route in leaving:
        route.meter.forget()
    await bound.lease.end()
