"""All workers of a gateway: started together, replaced one by one, stopped together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic, time

from gateway.control.worker import Worker, describe_end
from gateway.link import Failed, Ready
from observability.event import LifeEvent
from observability.merge import Snapshot, lasting, merge

LOG = logging.getLogger("turnout.control")
STEADY_S = 30.0  # a worker that has lived this long is replaced at once: what ended it does not come back every second
PATIENCE_S = 2.0  # the longest that connections in the kernel's hands are kept waiting for the next worker
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LAST_WORDS_S = 10.0  # after the drain, for shadows, events and spans to be brought home


class StartFailed(Exception):
    """A worker could not start, so the gateway does not."""


class Crew:
    """Keeps one worker in every slot. What ended goes on counting in `remains`."""

    def __init__(
        self,
        slots_n: int,
        start: Callable[[int], Awaitable[Worker]],
        renew: Callable[[int], None],
        report: Callable[[LifeEvent], None],
        joined: Callable[[Worker], None],
    ) -> None:
        """`start` fills a slot; `renew` sends those away who wait at an empty one; `joined` hears of replacements."""
        self.workers: list[Worker] = []
        self.restarts_n = [0] * slots_n
        self.remains: Snapshot = []
        self._start = start
        self._renew = renew
        self._report = report
        self._joined = joined
        self._keeping: list[asyncio.Task[None]] = []

    async def start(self) -> Ready:
        """Start all; returns what the first of them serves, which is what all serve. Raises StartFailed."""
        for slot in range(len(self.restarts_n)):
            self.workers.append(await self._start(slot))
        said = await asyncio.gather(*(asyncio.shield(worker.ready) for worker in self.workers))
        failed = [each for each in said if isinstance(each, Failed)]
        if failed:
            raise StartFailed(failed[0].reason)
        self._keeping = [asyncio.create_task(self._keep(worker)) for worker in self.workers]
        return next(each for each in said if isinstance(each, Ready))

    async def stop(self, drain_s: float) -> bool:
        """Ask all to finish within `drain_s`; whoever does not is ended. Returns whether all finished well."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        alive = [worker for worker in self.workers if not worker.ended.done()]
        for worker in alive:
            worker.stop()
        if alive:
            await asyncio.wait([worker.ended for worker in alive], timeout=drain_s + LAST_WORDS_S)
        self.kill()
        statuses = await asyncio.gather(*(worker.ended for worker in alive))
        for worker, status in zip(alive, statuses, strict=True):
            if status:
                LOG.error("worker %d %s", worker.slot, describe_end(status))
        return not any(statuses)

    def kill(self) -> None:
        """End all now."""
        for worker in self.workers:
            worker.kill()

    async def _keep(self, worker: Worker) -> None:
        """See that somebody serves in this worker's slot."""
        slot, failures_n = worker.slot, 0
        while True:
            how = describe_end(await asyncio.shield(worker.ended))
            self.remains = merge([self.remains, lasting(worker.snapshot)])
            worker.snapshot, worker.readings = [], {}
            lived_s = monotonic() - worker.began_at
            failures_n = 0 if worker.has_served and lived_s >= STEADY_S else failures_n + 1
            is_long = pause_after(failures_n) > 0 or worker.start_s > PATIENCE_S
            if is_long and any(other.is_up for other in self.workers):
                self._renew(slot)
            self._tell("worker_lost", f"worker {slot}, process {worker.pid}, {how} after {lived_s:.1f} s")
            worker = await self._replace(slot, failures_n)
            match await asyncio.shield(worker.ready):
                case Ready():
                    self._tell("worker_replaced", f"worker {slot} is process {worker.pid} now")
                    self._joined(worker)
                case Failed(reason):
                    LOG.error("worker %d cannot start: %s", slot, reason)

    async def _replace(self, slot: int, failures_n: int) -> Worker:
        while True:
            await asyncio.sleep(pause_after(failures_n))
            self.restarts_n[slot] += 1
            try:
                self.workers[slot] = await self._start(slot)
            except OSError as error:  # no memory or no room for a process at the moment
                failures_n += 1
                LOG.error("worker %d cannot be started: %s", slot, error)  # noqa: TRY400 - the reason is enough
            else:
                return self.workers[slot]

    def _tell(self, kind: str, message: str) -> None:
        LOG.warning("%s: %s", kind, message)
        revision = max((worker.revision for worker in self.workers), default=0)
        self._report(LifeEvent(time(), kind, "", "", message, revision))


def pause_after(failures_n: int) -> float:
    """Seconds before a worker is started again. The first that ends early is replaced at once, the next ever later."""
    if failures_n < 2:
        return 0.0
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures_n - 2, 16)))
