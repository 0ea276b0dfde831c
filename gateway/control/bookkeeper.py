"""The bookkeeper: what workers have counted goes into the ledger, once a second, and only then are they told so.

A worker that dies takes along at most what it counted since it last said so. That is written down, and with it whose
model was run at its end. While the state is away workers keep what they count.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import time

from gateway.control.deaths import Blamed
from gateway.control.worker import Worker
from gateway.increments import Counts
from gateway.link import Counted
from gateway.state.bookings import Booking
from gateway.state.closing import Reporter
from gateway.state.errors import StateError
from gateway.state.retention import prune
from gateway.state.shelf import Shelf
from strategies.evidence.epochs import EPOCH_S

LOG = logging.getLogger("turnout.control")
BOOK_S = 1.0
PRUNE_S = 3600.0
LAST_TRIES_N = 3  # at the end of the process, a second apart

Blame = Callable[[frozenset[bytes]], Sequence[Blamed]]
Clock = Callable[[], float]


class Bookkeeper:
    """Books for one gateway. `me` is its name among those that share the state."""

    def __init__(
        self, shelf: Shelf, me: str, experiments: Callable[[], Iterable[str]], blame: Blame, clock: Clock = time
    ) -> None:
        """`experiments` are those that are served now; `blame` knows whose models they were that ran at an end."""
        self.lost_n = 0  # workers that ended without their last words
        self._shelf = shelf
        self._me = me
        self._experiments = experiments
        self._clock = clock
        self._workers: list[Worker] = []
        self._blame = blame
        self._lost: dict[str, str] = {}  # experiment -> why, until that is written down
        self._deaths: list[Booking] = []  # likewise, of workers whose last run speaks against an arm
        self._booked_epoch = 0
        self._turn = asyncio.Lock()  # the last words come while the booking before may be under way
        self._prune_at = clock() + PRUNE_S
        self._has_begun = False  # whether the ledger knows that this gateway is there
        self._trouble = ""

    async def watch(self, starting: Awaitable[Worker]) -> Worker:
        """Book for this worker from its start to its end."""
        worker = await starting
        worker.open_from = self._epoch()
        self._workers.append(worker)
        return worker

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(BOOK_S)
            try:
                if await self._try() and self._clock() >= self._prune_at:
                    await self._prune()
            except Exception:  # a defect must cost what was said now alone, not all evidence until the next start
                LOG.exception("what was counted could not be booked; it waits in the workers")

    async def leave(self) -> None:
        """Book the last words of workers that have ended, and tell the others not to wait."""
        for _ in range(LAST_TRIES_N):
            if await self._try():
                break
            await asyncio.sleep(BOOK_S)
        else:
            LOG.error("what was counted last could not be kept: %s", self._trouble)
            return
        try:
            await asyncio.to_thread(lambda: self._shelf.bookings().leave(self._me))
        except StateError as error:
            LOG.warning("the others cannot be told that nothing more is counted here: %s", error)

    async def _prune(self) -> None:
        self._prune_at = self._clock() + PRUNE_S
        try:
            await asyncio.to_thread(lambda: prune(self._shelf.engine(), self._clock()))
        except StateError as error:
            LOG.warning("what is over for long could not be forgotten: %s", error)

    async def _try(self) -> bool:
        """Book what there is. Returns whether the state has it."""
        async with self._turn:
            return await self._book()

    async def _book(self) -> bool:
        self._bury()
        said = [(worker, counted) for worker in self._workers for counted in worker.counted]
        epoch = self._epoch()
        if epoch == self._booked_epoch and not self._lost and all(counted.counts.is_empty for _, counted in said):
            for worker, counted in said:
                worker.take(counted)
            return True
        deaths = [*self._deaths]
        bookings = [Booking(worker.id, counted.seq, counted.counts) for worker, counted in said] + deaths
        me, lost = self._report(dict(said)), dict(self._lost)
        try:
            if not self._has_begun:
                await asyncio.to_thread(lambda: self._shelf.bookings().begin(self._me))
                self._has_begun = True
            await asyncio.to_thread(lambda: self._shelf.bookings().book(bookings, me, lost))
        except StateError as error:
            if str(error) != self._trouble:
                LOG.error("what is counted waits in the workers: %s", error)  # noqa: TRY400 - the sentence is enough
            self._trouble = str(error)
            return False
        self._trouble, self._booked_epoch = "", epoch
        self._lost = {name: why for name, why in self._lost.items() if lost.get(name) != why}
        self._deaths = self._deaths[len(deaths) :]
        for worker, counted in said:
            worker.take(counted)
        self._forget()
        return True

    def _bury(self) -> None:
        """Note the loss of what a worker had not said when it ended."""
        for worker in self._workers:
            is_whole = worker.has_said_all or any(counted.is_last for counted in worker.counted)
            if worker.ended.done() and worker.has_served and not is_whole:
                worker.has_said_all = True
                self.lost_n += 1
                self._lost |= dict.fromkeys(self._experiments(), f"process {worker.pid} ended before it had told all")
                if not worker.was_killed:
                    self._note_death(worker)
        self._forget()

    def _note_death(self, worker: Worker) -> None:
        """Write down whose model was run when it ended."""
        found = self._blame(worker.ran)
        for each in found:
            LOG.warning("process %d ended while %s of %s was run", worker.pid, each.arm, each.experiment)
        if found:
            epoch = self._epoch()
            cells = [each.in_epoch(epoch) for each in found]
            self._deaths.append(Booking(f"{worker.id} end", 1, Counts(epoch, cells=cells)))

    def _forget(self) -> None:
        """Let go of workers that will not say anything more."""
        self._workers = [each for each in self._workers if each.counted or not each.ended.done()]

    def _report(self, said: dict[Worker, Counted]) -> Reporter:
        """The least that all workers say, once what they say is booked."""
        open_from, holding = self._epoch(), dict[str, int]()
        for worker in self._workers:
            counts = said[worker].counts if worker in said else worker
            if not worker.ended.done():
                open_from = min(open_from, counts.open_from)
            for name, epoch in counts.holding.items() if not worker.ended.done() else ():
                holding[name] = min(epoch, holding.get(name, epoch))
        return Reporter(self._me, open_from, holding, self._clock())

    def _epoch(self) -> int:
        return int(self._clock()) // EPOCH_S
