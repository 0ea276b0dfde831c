"""Reporting: a worker says to its control process what it has counted, and keeps it until the ledger has it.

One message is under way at a time; meanwhile the next one grows, in place, so that waiting takes no more room.
"""

import asyncio
from time import time

from gateway.link import Counted, Link, Order
from gateway.tally import Tallies
from strategies.evidence.epochs import EPOCH_S

SAY_S = 1.0  # what a crash takes along at most


class Reporting:
    """The worker's side of `Counted` and `Taken`."""

    def __init__(self, tallies: Tallies, link: Link[Order]) -> None:
        self._tallies = tallies
        self._link = link
        self._seq = 0
        self._is_waiting = False
        self._said_epoch = 0

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SAY_S)
            if not self._is_waiting and (self._tallies.is_awake or int(time()) // EPOCH_S != self._said_epoch):
                self._say(is_last=False)

    def take(self, seq: int) -> None:
        """What was said under this number is in the ledger."""
        if seq == self._seq:
            self._is_waiting = False

    async def say_last(self) -> None:
        """Say what is left, when no more requests will come."""
        self._say(is_last=True)
        await self._link.flush()

    def _say(self, *, is_last: bool) -> None:
        counts = self._tallies.take(time())
        self._seq += 1
        self._is_waiting = True
        self._said_epoch = counts.open_from
        self._link.send(Counted(self._seq, counts, is_last))
