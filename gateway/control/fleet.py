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
        self._warmed: dict[int, set[int]] = {}  # revision -> processes
        self._behind: set[asyncio.Task[None]] = set()

    def lead(self, crew: Crew) -> None:
        """From now on there is somebody to lead."""
        self._crew = crew

    async def warm(self, meaning: Meaning) -> dict[str, str]:
        """Have everybody open what a revision needs; returns what could not be, with the reason, by its place."""
        routes = await asyncio.to_thread(pack_routes, tuple(meaning.routes.values()))
        workers = self._workers()
        told = await asyncio.gather(*(worker.warm(meaning.number, routes, WARM_LIMIT_S) for worker in workers))
        refused = {place: reason for each in told for place, reason in each.items()}
        if refused:
            self.discard(meaning.number)
        else:
            self._warmed = {meaning.number: {worker.pid for worker in workers}}
        return refused

    def discard(self, number: int) -> None:
        """Have everybody close what was opened for a revision."""
        self._warmed.pop(number, None)
        for worker in self._workers():
            worker.discard(number)

    async def swap(self, meaning: Meaning) -> None:
        """Make a revision live everywhere. Whoever was not there to warm it follows as soon as it can."""
        self.number = meaning.number
        routes = tuple(meaning.routes.values())
        self._routes = await asyncio.to_thread(pack_routes, routes)
        self._unpacked = replace(self._unpacked, revision=meaning.number, routes=routes)
        self.launch = await asyncio.to_thread(pack, self._unpacked)
        warm = self._warmed.pop(meaning.number, set())
        workers = self._workers()
        ready = [worker for worker in workers if worker.pid in warm]
        swapped = await asyncio.gather(*(worker.swap(meaning.number, SWAP_LIMIT_S) for worker in ready))
        late = [worker for worker, is_done in zip(ready, swapped, strict=True) if not is_done]
        for worker in (*late, *(worker for worker in workers if worker.pid not in warm)):
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
            number = self.number
            refused = await worker.warm(number, self._routes, WARM_LIMIT_S)
            if not refused and await worker.swap(number, SWAP_LIMIT_S):
                continue
            LOG.error("worker %d cannot follow to revision %d: %s", worker.slot, number, refused or "no answer")
            await asyncio.sleep(AGAIN_S)

    def _workers(self) -> list[Worker]:
        return [worker for worker in self._crew.workers if worker.is_up] if self._crew else []
