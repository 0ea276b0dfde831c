"""All workers as one: a revision is warm when everybody has opened it, and live when everybody routes by it."""

import asyncio
import logging
from collections.abc import Sequence

from msgspec.structs import replace

from gateway.config.compiled import CompiledRoute
from gateway.control.cluster import Cluster, apps_of
from gateway.control.crew import Crew
from gateway.control.worker import Worker
from gateway.handover import Launch, pack, pack_routes
from gateway.publishing.prepare import Meaning
from runners.ray.members import Membership

LOG = logging.getLogger("turnout.control")
WARM_LIMIT_S = 600.0  # a provider may compile a model for minutes
ANSWER_LIMIT_S = 5.0  # for a worker that has nothing to open
SWAP_LIMIT_S = 5.0
AGAIN_S = 5.0  # before somebody who could not follow is asked again


class Fleet:
    """Leads the workers of a crew from revision to revision."""

    def __init__(self, launch: Launch, cluster: Cluster | None = None) -> None:
        """`cluster` hosts the arms that say so; without one there are none."""
        self._launch = launch
        self._cluster = cluster
        if cluster is not None:
            cluster.tell(self.spread)
        self._crew: Crew | None = None
        self._warmed: list[Worker] = []  # those who wait for a swap or a discard, each held in its turn
        self._behind: set[asyncio.Task[None]] = set()
        self._is_led = asyncio.Event()
        self._is_led.set()

    @property
    def launch(self) -> bytes:
        """What a worker that starts now is told."""
        return pack(self._launch)

    @property
    def routes(self) -> tuple[CompiledRoute, ...]:
        """Those of the live revision."""
        return self._launch.routes

    @property
    def number(self) -> int:
        """The live revision."""
        return self._launch.revision

    async def settle(self) -> None:
        """Give arms that are hosted elsewhere a while to be there, before anybody is served."""
        if self._cluster is not None:
            await self._cluster.settle()

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
        """Have everybody open what a revision needs; returns what could not be, with the reason, by its place.

        When there is nothing to open, as for a rollback, nobody is waited for long: who does not answer follows later.
        """
        await self._is_led.wait()
        routes = tuple(meaning.routes.values())
        unhosted = await self._host(meaning.number, routes)
        if unhosted:
            return unhosted
        is_opening = not _models(self._launch.routes).issuperset(_models(routes))
        packed = await asyncio.to_thread(pack_routes, routes)
        try:
            waiting = (self._warm(worker, meaning.number, packed, is_opening=is_opening) for worker in self._workers())
            told = await asyncio.gather(*waiting)
        except BaseException:
            self.discard(meaning.number)
            raise
        refused = {place: reason for each in told for place, reason in each.items()}
        if refused:
            self.discard(meaning.number)
        return refused

    async def _warm(self, worker: Worker, number: int, routes: bytes, *, is_opening: bool) -> dict[str, str]:
        limit_s = WARM_LIMIT_S if is_opening else ANSWER_LIMIT_S
        try:
            async with asyncio.timeout(limit_s):
                await worker.turn.acquire()  # a worker keeps one table warm: nobody else may warm another before ours
            self._warmed.append(worker)
            return await worker.warm(number, routes, limit_s)
        except TimeoutError:
            if is_opening:
                return {f"worker {worker.slot}": f"did not open its models within {limit_s:g} s"}
        LOG.error("worker %d does not answer; the others go on to revision %d without it", worker.slot, number)
        if worker in self._warmed:
            self._warmed.remove(worker)
            worker.turn.release()
        return {}

    async def _host(self, number: int, routes: Sequence[CompiledRoute]) -> dict[str, str]:
        """Have arms hosted before anybody opens them. Nobody waits for what is hosted already, nor at the start."""
        if self._cluster is None:
            return {}
        wanted = apps_of(arm for route in routes for arm in route.arms)
        live = {app.name for app in apps_of(arm for route in self._launch.routes for arm in route.arms)}
        if self._crew is None:
            self._cluster.want(number, wanted)
            return {}
        refused = await self._cluster.host(number, wanted, live)
        if refused:
            self._cluster.discard(number)
        names = {
            arm.model.hosting.key: f"route '{route.name}', arm '{arm.arm.name}'"
            for route in routes
            for arm in route.arms
            if arm.model.hosting
        }
        return {names[name]: why for name, why in refused.items()}

    def wake(self, name: str) -> None:
        """Somebody asked an arm that has no replica; one that may sleep gets one."""
        if self._cluster is not None:
            self._cluster.wake(name)

    def spread(self, membership: Membership) -> None:
        """Have everybody know which replicas there are elsewhere, those who start later too."""
        self._launch = replace(self._launch, membership=membership)
        for worker in self._crew.workers if self._crew else ():
            worker.tell_hosted(membership)

    def discard(self, number: int) -> None:
        """Have everybody close what was opened for a revision."""
        if self._cluster is not None:
            self._cluster.discard(number)
        for worker in self._release():
            worker.discard(number)

    async def swap(self, meaning: Meaning) -> None:
        """Make a revision live everywhere. Whoever was not there to warm it follows as soon as it can."""
        # In one step: who joined between a number and its routes would serve the old ones under the new number.
        self._launch = replace(self._launch, revision=meaning.number, routes=tuple(meaning.routes.values()))
        try:
            await asyncio.gather(*(worker.swap(meaning.number, SWAP_LIMIT_S) for worker in self._warmed))
        finally:
            self._release()
            for worker in self._workers():
                self.join(worker)
            if self._cluster is not None:  # what was live before drains, and its processes end
                self._cluster.settle_on(meaning.number, apps_of(arm for r in self._launch.routes for arm in r.arms))

    def join(self, worker: Worker) -> None:
        """Bring one that may have started under an older revision to the live one."""
        if self._cluster is not None:
            worker.tell_hosted(self._launch.membership)
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
                live = self._launch
                number = live.revision
                if worker.revision == number:  # it was brought along while this waited
                    return
                try:
                    refused = await worker.warm(number, pack_routes(live.routes), WARM_LIMIT_S)
                except TimeoutError:
                    refused = {}
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


def _models(routes: Sequence[CompiledRoute]) -> frozenset[str]:
    return frozenset(arm.key for route in routes for arm in route.arms)
