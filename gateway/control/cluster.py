"""The cluster as the control process sees it: an agent that is kept alive, told what to host, and listened to.

What it has seen is handed to all workers and kept on the disk, so that a gateway which starts while Ray is away asks
the replicas that were there last.
"""

import asyncio
import logging
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

import msgspec
from msgspec import Struct

from gateway.config.compiled import CompiledArm
from gateway.control.absentees import Absentees
from runners.ray.logs import LogsAway
from runners.ray.members import NOBODY, Membership, State
from runners.ray.wanted import App, AppSeen, Said, Seen, Tail, Tailed, Wake, Want, line, read_said

LOG = logging.getLogger("turnout.cluster")
HOST_LIMIT_S = 300.0  # images are pulled and nodes are started
SETTLE_LIMIT_S = 60.0  # a start waits no longer for replicas: the resident baseline answers
AGAIN_FIRST_S, AGAIN_MOST_S = 0.5, 10.0
SEEN_BYTES = 16 << 20
TAILS_N = 4  # who may read logs at a time
TAIL_LIMIT_S = 20.0  # a node's process is started for it
FAILED = ("DEPLOY_FAILED", "REFUSED")


class ClusterPlace(Struct, frozen=True):
    """Where the cluster is, where what was seen of it is kept, and what an agent finds in its environment."""

    address: str
    folder: Path
    environment: Mapping[str, str] = {}

    @property
    def file(self) -> Path:
        return self.folder / "members.json"


class Cluster:
    """One agent after the other. Used on the event loop of the control process."""

    def __init__(self, place: ClusterPlace) -> None:
        self.membership = _remembered(place.file)
        self.apps: Mapping[str, AppSeen] = {}
        self.absentees = Absentees()
        self.trouble = ""  # why nobody knows what is hosted, "" while somebody does or may soon
        self._place = place
        self._spread: Callable[[Membership], None] = lambda _: None
        self._wanted: dict[int, tuple[App, ...]] = {}
        self._kept: tuple[str, ...] = ()
        self._channel: asyncio.StreamWriter | None = None
        self._news = asyncio.Event()
        self._tails: dict[int, asyncio.Future[Tailed]] = {}
        self._asked_n = 0

    @property
    def wanted(self) -> frozenset[str]:
        """Names of all that this gateway wants to be hosted."""
        return frozenset(app.name for app in self._all())

    def tell(self, spread: Callable[[Membership], None]) -> None:
        """From now on hand what is seen to whoever asks replicas."""
        self._spread = spread

    def want(self, number: int, apps: Iterable[App]) -> None:
        """Have what a revision needs hosted, beside what is hosted already."""
        self._wanted[number] = tuple(apps)
        self._say_wanted()

    def discard(self, number: int) -> None:
        """That revision will not be live."""
        if self._wanted.pop(number, None):
            self._say_wanted()

    def settle_on(self, number: int, apps: Iterable[App]) -> None:
        """That revision is live and needs these: what only others needed may go."""
        self._wanted = {number: tuple(apps)}
        self._say_wanted()

    def spare(self, names: Iterable[str]) -> None:
        """Leave these alone: other gateways want them."""
        kept = tuple(sorted(set(names)))
        if kept != self._kept:
            self._kept = kept
            self._say_wanted()

    def wake(self, name: str) -> None:
        """Somebody asks an arm that has no replica, which it may have none of while nobody asks."""
        if self._channel is not None and any(app.name == name and _may_sleep(app) for app in self._all()):
            self._channel.write(line(Wake(name)))

    async def host(self, number: int, apps: Iterable[App], known: Collection[str] = ()) -> dict[str, str]:
        """Have a revision's arms hosted, and wait until each has a replica; returns those that have none, and why.

        Nobody waits for those in `known`: they are live already, and a change must not wait for what has come to them.
        """
        apps = tuple(apps)
        self.want(number, apps)
        fresh = [app for app in apps if app.name not in known]
        await self._settled(fresh, HOST_LIMIT_S)
        return {app.name: self._why_not(app) for app in fresh if not self._is_ready(app.name) and not _may_sleep(app)}

    async def tail(self, name: str, lines_n: int) -> Tailed:
        """The last lines of the logs of an application's replicas. Raises LogsAway, with why."""
        if self._channel is None or self.trouble:
            raise LogsAway(f"the Ray cluster does not answer: {self.trouble or 'its agent is being started'}")
        if len(self._tails) >= TAILS_N:
            raise LogsAway(f"{TAILS_N} others read logs at the moment; ask again")
        self._asked_n = number = self._asked_n + 1
        answer: asyncio.Future[Tailed] = asyncio.get_running_loop().create_future()
        self._tails[number] = answer
        self._channel.write(line(Tail(number, name, lines_n)))
        try:
            async with asyncio.timeout(TAIL_LIMIT_S):
                return await answer
        except TimeoutError:
            raise LogsAway(f"the Ray cluster has not answered within {TAIL_LIMIT_S:g} s") from None
        finally:
            del self._tails[number]

    async def settle(self, limit_s: float = SETTLE_LIMIT_S) -> None:
        """Come back when all that is wanted is there, or will not be soon."""
        await self._settled(self._all(), limit_s)

    async def keep(self) -> None:
        """Until cancelled: have an agent, listen to it, start another when it ends."""
        pause_s = AGAIN_FIRST_S
        while True:
            began_at = asyncio.get_running_loop().time()
            try:
                await self._listen()
            except OSError as error:
                self._hear_trouble(f"no agent could be started: {error}")
            lived_s = asyncio.get_running_loop().time() - began_at
            pause_s = AGAIN_FIRST_S if lived_s > 2 * AGAIN_MOST_S else min(pause_s * 2, AGAIN_MOST_S)
            await asyncio.sleep(pause_s)

    async def _listen(self) -> None:
        """One agent, from its start to its end."""
        process, channel = await _start_agent(self._place)
        reader, writer = await asyncio.open_unix_connection(sock=channel, limit=SEEN_BYTES)
        self._channel = writer
        try:
            self._say_wanted()
            while text := await reader.readline():
                self._take(read_said(text))
        except (ConnectionError, ValueError, msgspec.DecodeError) as error:
            LOG.warning("the agent said something that is no report: %s", error)
        finally:
            self._channel = None
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if not self.trouble:
            self._hear_trouble("the agent has ended")

    def _take(self, said: Said) -> None:
        match said:
            case Seen():
                self._hear(said)
            case Tailed(number) if number in self._tails and not self._tails[number].done():
                self._tails[number].set_result(said)

    def _hear(self, seen: Seen) -> None:
        if seen.trouble:
            self._hear_trouble(seen.trouble)
            return
        if self.trouble:
            LOG.info("the Ray cluster at %s answers", self._place.address)
            self.trouble = ""
        self.apps = {app.name: app for app in seen.apps}
        self.absentees.note(seen.membership.members, monotonic(), self.wanted)
        is_news = seen.membership.members != self.membership.members
        self.membership = seen.membership
        if is_news:
            self._remember(seen.membership)
            self._spread(seen.membership)
        self._news.set()

    def _hear_trouble(self, trouble: str) -> None:
        """The replicas that are known stay: most of Ray's troubles are not theirs."""
        if trouble != self.trouble:
            LOG.warning("the Ray cluster at %s does not answer: %s", self._place.address, trouble)
        self.trouble = trouble
        self._news.set()

    def _say_wanted(self) -> None:
        if self._channel is not None:
            by_name = {app.name: app for app in self._all()}
            self._channel.write(line(Want(tuple(by_name.values()), self._kept)))

    async def _settled(self, apps: Sequence[App], limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while any(not self._is_settled(app) for app in apps):
                    self._news.clear()
                    await self._news.wait()

    def _all(self) -> list[App]:
        return [app for apps in self._wanted.values() for app in apps]

    def _is_settled(self, app: App) -> bool:
        known = self.apps.get(app.name)
        is_failed = bool(self.trouble) or (known is not None and known.status in FAILED)
        is_asleep = _may_sleep(app) and known is not None and known.status == "RUNNING"
        return is_failed or is_asleep or self._is_ready(app.name)

    def _is_ready(self, name: str) -> bool:
        return any(member.state is State.READY for member in self.membership.of(name))

    def _why_not(self, app: App) -> str:
        known = self.apps.get(app.name)
        return self.trouble or (known and (known.message or known.status)) or "Ray has not begun with it"

    def _remember(self, membership: Membership) -> None:
        beside = self._place.file.with_suffix(".new")
        try:
            self._place.folder.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(msgspec.json.encode(membership))
            beside.replace(self._place.file)
        except OSError as error:
            LOG.warning("replicas cannot be remembered: %s", error)


def apps_of(arms: Iterable[CompiledArm]) -> tuple[App, ...]:
    """What must be hosted for these arms, each once."""
    hosted = {arm.model.hosting.key: App(arm.model) for arm in arms if arm.model.hosting and arm.model.hosting.key}
    return tuple(hosted.values())


async def _start_agent(place: ClusterPlace) -> tuple[Process, socket.socket]:
    """It finds its code where this process finds its own."""
    ours, theirs = socket.socketpair()
    with theirs:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from runners.ray.agent import main; "
            f"main({theirs.fileno()}, {place.address!r})"
        )
        command = (sys.executable, "-P", "-c", code)
        process = await asyncio.create_subprocess_exec(
            *command, env=os.environ | place.environment, pass_fds=(theirs.fileno(),), start_new_session=True
        )
    return process, ours


def _may_sleep(app: App) -> bool:
    hosting = app.model.hosting
    return hosting is not None and hosting.most > 0 and hosting.replicas == 0


def _remembered(file: Path) -> Membership:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Membership)
    except (OSError, msgspec.DecodeError):
        return NOBODY
