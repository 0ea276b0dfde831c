"""Whether a remote server is believed up: a question that costs nothing, answered by probing at a bounded pace."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from time import monotonic

from msgspec import Struct

from runners.core.errors import RunnerError

_LOG = logging.getLogger("turnout.remote")


class Pace(Struct, frozen=True):
    """Seconds between probes: `up_s` while all is well; else from `down_s`, doubled up to `down_most_s`."""

    up_s: float = 5.0
    down_s: float = 0.2
    down_most_s: float = 2.0


DEFAULT_PACE = Pace()


class Watch:
    """Probes from `start` to `stop`. Believed up at first, for what is watched has just been opened."""

    def __init__(self, name: str, probe: Callable[[bool], Awaitable[None]], pace: Pace = DEFAULT_PACE) -> None:
        """`probe` raises a RunnerError unless all is well; it is told whether the server is believed up."""
        self.is_up = True
        self.why = ""  # it is believed down
        self._name = name
        self._probe = probe
        self._pace = pace
        self._doubted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def doubt(self, why: str, *, is_down: bool) -> None:
        """Say that a call went wrong; the next probe comes as soon as the pace allows."""
        if is_down and self.is_up:
            self._believe_down(why)
        self._doubted.set()

    async def stop(self) -> None:
        self.is_up = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pace = self._pace
        failed_n = 0
        while True:
            if failed_n:
                delay_s = min(pace.down_s * 2 ** min(failed_n - 1, 16), pace.down_most_s)
                await asyncio.sleep(delay_s * random.uniform(0.8, 1.2))  # noqa: S311 - so that gateways do not march
            else:
                await self._rest()
            self._doubted.clear()
            failed_n = 0 if await self._is_well() else failed_n + 1

    async def _rest(self) -> None:
        """Wait for the next probe that is due, or for a doubt, but never less than the shortest pace."""
        began_at = monotonic()
        try:
            async with asyncio.timeout(self._pace.up_s * random.uniform(0.8, 1.2)):  # noqa: S311
                await self._doubted.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(0.0, began_at + self._pace.down_s - monotonic()))

    async def _is_well(self) -> bool:
        try:
            await self._probe(self.is_up)
        except Exception as error:  # noqa: BLE001 - a watch that ends would leave the server down for good
            if not isinstance(error, RunnerError):
                _LOG.exception("%s could not be probed", self._name)
            if self.is_up:
                self._believe_down(str(error))
            self.why = str(error)
            return False
        if not self.is_up:
            _LOG.info("%s is back", self._name)
        self.is_up = True
        return True

    def _believe_down(self, why: str) -> None:
        self.is_up = False
        self.why = why
        _LOG.warning("%s is down: %s", self._name, why)
