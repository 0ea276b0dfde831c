"""One worker as the control process sees it: from the start of its process to its end."""

import asyncio
import mmap
import os
import secrets
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from tempfile import TemporaryFile
from time import monotonic
from typing import IO

from gateway.control.doors import Doors
from gateway.link import (
    Ask,
    Clicked,
    Counted,
    Discard,
    Failed,
    Hosted,
    Kept,
    Leaving,
    Link,
    Missed,
    Ready,
    Report,
    Start,
    Stop,
    Swap,
    Swapped,
    Taken,
    Told,
    Warm,
    Warmed,
    open_control_end,
)
from observability.merge import Snapshot
from runners.core.marks import BYTES_N, running_in
from runners.ray.members import Membership
from runners.ray.readings import PeerReading

Keep = Callable[[Clicked, Callable[[Kept], None]], None]
ASKED_LIMIT = 2  # questions a worker may owe answers to: one that is stuck is not asked again and again


class Worker:
    """A process that serves, or that did. `ready` holds what it said first; an end before that is `Failed`."""

    def __init__(self, slot: int, process: Process, link: Link[Report], keep: Keep, marks: mmap.mmap) -> None:
        """`keep` is handed clicks and a way to answer; `marks` are where it says what it runs."""
        self.slot = slot
        self.pid = process.pid
        self.began_at = monotonic()
        self.ready: asyncio.Future[Ready | Failed] = asyncio.get_running_loop().create_future()
        self.start_s = 0.0  # how long it took to be ready
        self.is_leaving = False
        self.revision = 0  # that its requests are routed by
        self.turn = asyncio.Lock()  # whose order to warm it obeys: held until that is swapped in or discarded
        self.snapshot: Snapshot = []
        self.readings: dict[str, list[PeerReading]] = {}  # told with the snapshot: replicas as this worker sees them
        self.told_at = 0.0  # when the snapshot came, 0 for never
        self.id = secrets.token_hex(8)  # no other process ever has it: what it has counted is booked under it
        self.counted: list[Counted] = []  # what it has said and nobody has taken
        self.open_from = 0  # the first epoch in which it may still count, as far as what it said was taken
        self.holding: dict[str, int] = {}  # likewise for experiments that wait for answers to older requests
        self.has_said_all = False
        self.on_missed: Callable[[str], None] = lambda _: None
        self.was_killed = False  # by this process
        self.ran: frozenset[bytes] = frozenset()  # signs of the models that were run when it ended
        self._marks = marks
        self._process = process
        self._link = link
        self._keep = keep
        self._asked_n = self._told_n = 0
        self._told = asyncio.Event()
        self._warming: dict[int, asyncio.Future[dict[str, str]]] = {}
        self.ended = asyncio.create_task(self._hear())  # its result is the exit status, negative for a signal

    @property
    def has_served(self) -> bool:
        """Whether it was ever ready."""
        return self.ready.done() and isinstance(self.ready.result(), Ready)

    @property
    def is_up(self) -> bool:
        """Whether it answers requests, as far as is known here."""
        return self.has_served and not self.is_leaving and not self.ended.done()

    async def refresh(self, within_s: float) -> None:
        """Get a snapshot taken after this call, or give up: the one before stays."""
        if not self.has_served or self.ended.done():
            return
        if self._asked_n - self._told_n < ASKED_LIMIT:
            self._asked_n += 1
            self._link.send(Ask(self._asked_n))
        wanted = self._asked_n
        try:
            async with asyncio.timeout(within_s):
                while self._told_n < wanted and not self.ended.done():
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            return

    async def warm(self, number: int, routes: bytes, within_s: float) -> dict[str, str]:
        """Have it open what a revision needs; returns what could not be opened, with the reason, nothing if all was.

        Raises TimeoutError when it does not answer.
        """
        if self.ended.done():
            return {}
        answer = self._warming.setdefault(number, asyncio.get_running_loop().create_future())
        self._link.send(Warm(number, routes))
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(answer)
        finally:
            self._warming.pop(number, None)

    async def swap(self, number: int, within_s: float) -> bool:
        """Have it serve what it warmed; returns whether it does, or has ended."""
        self._link.send(Swap(number))
        try:
            async with asyncio.timeout(within_s):
                while self.revision != number and not self.ended.done():
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            return False
        return True

    def discard(self, number: int) -> None:
        """Have it close what it warmed."""
        self._link.send(Discard(number))

    def take(self, counted: Counted) -> None:
        """Tell it that what it has counted is in the ledger."""
        self.counted.remove(counted)
        self.open_from, self.holding = counted.counts.open_from, counted.counts.holding
        self.has_said_all = self.has_said_all or counted.is_last
        self._link.send(Taken(counted.seq))

    def tell_hosted(self, membership: Membership) -> None:
        """Have it know which replicas there are elsewhere."""
        self._link.send(Hosted(membership))

    def stop(self) -> None:
        """Ask it to finish what is under way and end."""
        self._link.send(Stop())

    def kill(self) -> None:
        """End it now."""
        if self._process.returncode is None:
            self.was_killed = True
            self._process.kill()

    async def _hear(self) -> int:
        while (report := await self._link.receive()) is not None:
            self._take(report)
        status = await self._process.wait()
        self._link.close()
        with self._marks:
            self.ran = running_in(self._marks[:])
        self._told.set()
        for number in list(self._warming):  # it may have been the models that ended it, as they would everybody
            self._answer_warm(number, {f"worker {self.slot}": f"{describe_end(status)} while it opened its models"})
        if not self.ready.done():
            self.ready.set_result(Failed(f"worker {self.slot} {describe_end(status)} before it was ready"))
        return status

    def _take(self, report: Report) -> None:
        match report:
            case Ready() | Failed():
                self.start_s = monotonic() - self.began_at
                self.revision = report.revision if isinstance(report, Ready) else 0
                self.ready.set_result(report)
            case Warmed(number, refused):
                self._answer_warm(number, refused)
            case Swapped(number):
                self.revision = number
                self._told.set()
            case Clicked():
                self._keep(report, self._link.send)
            case Leaving():
                self.is_leaving = True
            case Counted():
                self.counted.append(report)
            case Missed(name):
                self.on_missed(name)
            case Told(number, snapshot, readings):
                self.snapshot, self.told_at, self._told_n = snapshot, monotonic(), number
                self.readings = readings
                self._told.set()

    def _answer_warm(self, number: int, refused: dict[str, str]) -> None:
        answer = self._warming.get(number)
        if answer is not None and not answer.done():
            answer.set_result(refused)


async def start_worker(slot: int, launch: bytes, doors: Doors, keep: Keep) -> Worker:
    """Start a process afresh and tell it what to serve. It finds its code where this process finds its own."""
    ours, theirs = socket.socketpair()
    with theirs:
        http_fd, grpc_fd = doors.of(slot)
        code = f"import sys; sys.path[:] = {sys.path!r}; from gateway.serving import main; main({theirs.fileno()})"
        command = (sys.executable, "-P", "-c", code)
        with _pages() as pages:
            pages.truncate(BYTES_N)
            marks_fd = pages.fileno()
            fds = (theirs.fileno(), http_fd, grpc_fd, marks_fd)
            process = await asyncio.create_subprocess_exec(*command, pass_fds=fds)
            marks = mmap.mmap(marks_fd, BYTES_N)
    link = await open_control_end(ours)
    link.send(Start(launch, slot, http_fd, grpc_fd, marks_fd))
    return Worker(slot, process, link, keep, marks)


def _pages() -> IO[bytes]:
    """A file that lies in memory where that is possible: nobody shall wait for a disk to say what runs."""
    return os.fdopen(os.memfd_create("marks"), "r+b") if sys.platform == "linux" else TemporaryFile()


def describe_end(status: int) -> str:
    """How a process ended, in words that follow its name."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
