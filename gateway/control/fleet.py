"""All workers as one: a revision is warm when everybody has opened it, and live when everybody routes by it."""

import asyncio
import logging

from msgspec.structs import replace

from gateway.control.crew import Crew
from gateway.control.worker import Worker
from gateway.handover import Launch, pack, pack_routes
from gateway.publishing.prepare import Meaning

LOG = logging.getLogger("turnout.control")
WARM_LIMIT_S = 600.0  # a provider may compile a model for minutes
SWAP_LIMIT_S = 5.0
AGAIN_S = 5.0  # before somebody who could not follow is asked again


class Fleet:
    """Leads the workers of a crew from revision to revision. `launch` is what a replacement is started with."""

    def __init__(self, launch: Launch) -> None:
        self.launch = pack(launch)
        self.number = launch.revision
        self._unpacked = launch
        self._routes = b""
        self._crew: Crew | None = None
        self._warmed: list[Worker] = []  # those who wait for a swap or a discard, each held in its turn
        self._behind: set[asyncio.Task[None]] = set()
        self._is_led = asyncio.Event()
        self._is_led.set()

    def expect(self) -> None:
        """From now on a change waits for a crew that can open its models."""
        self._is_led.clear()

    def lead(self, crew: Crew) -> None:
        """From now on there is somebody to lead. Who started before the latest change is brought along."""
        self._crew = crew
        self._is_led.set()
        for worker in crew.workers:
            self.join(worker)

    async def warm(self, meaning: Meaning) -> dict[str, str]:
        """Have everybody open what a revision needs; returns what could not be, with the reason, by its place."""
        await self._is_led.wait()
        routes = await asyncio.to_thread(pack_routes, tuple(meaning.routes.values()))
        try:
            for worker in self._workers():  # a worker keeps one table warm, so nobody else may warm another before ours
                await worker.turn.acquire()
                self._warmed.append(worker)
            told = await asyncio.gather(*(each.warm(meaning.number, routes, WARM_LIMIT_S) for each in self._warmed))
        except BaseException:
            self.discard(meaning.number)
            raise
        refused = {place: reason for each in told for place, reason in each.items()}
        if refused:
            self.discard(meaning.number)
        return refused

    def discard(self, number: int) -> None:
        """Have everybody close what was opened for a revision."""
        for worker in self._release():
            worker.discard(number)

    async def swap(self, meaning: Meaning) -> None:
        """Make a revision live everywhere. Whoever was not there to warm it follows as soon as it can."""
        routes = tuple(meaning.routes.values())
        unpacked = replace(self._unpacked, revision=meaning.number, routes=routes)
        try:
            packed, launch = await asyncio.to_thread(lambda: (pack_routes(routes), pack(unpacked)))
            # All at once: who joins between a number and its routes would serve the old ones under the new number.
            self.number, self._routes, self._unpacked, self.launch = meaning.number, packed, unpacked, launch
            await asyncio.gather(*(worker.swap(meaning.number, SWAP_LIMIT_S) for worker in self._warmed))
        finally:
            self._release()
            for worker in self._workers():
                self.join(worker)

    def join(self, worker: Worker) -> None:
        """Bring one that may have started under an older revision to the live one."""
        if worker.revision != self.number:
            task = asyncio.create_task(self._catch_up(worker))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)

    def behind(self) -> list[str]:
        """Which workers do not route by the live revision, in words."""
        return [
            f"worker {worker.slot} routes by revision {worker.revision}"
            for worker in self._workers()
            if worker.revision != self.number
        ]

    def close(self) -> None:
        """Wait for nobody any more."""
        for task in self._behind:
            task.cancel()

    async def _catch_up(self, worker: Worker) -> None:
        while worker.is_up and worker.revision != self.number:
            async with worker.turn:
                number, routes = self.number, self._routes
                if worker.revision == number:  # it was brought along while this waited
                    return
                refused = await worker.warm(number, routes, WARM_LIMIT_S)
                if not refused and await worker.swap(number, SWAP_LIMIT_S):
                    continue
            LOG.error("worker %d cannot follow to revision %d: %s", worker.slot, number, refused or "no answer")
            await asyncio.sleep(AGAIN_S)

    def _release(self) -> list[Worker]:
        """Let others have their turn with those who were warmed; returns these."""
        warmed, self._warmed = self._warmed, []
        for worker in warmed:
            worker.turn.release()
        return warmed

    def _workers(self) -> list[Worker]:
        return [worker for worker in self._crew.workers if worker.is_up] if self._crew else []
