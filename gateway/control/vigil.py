"""The vigil: twice a second, look whether the store, the directory or the calendar asks for another revision."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from gateway.arms import ArmSeen
from gateway.config.directory import read_directory
from gateway.config.problems import ConfigRefused
from gateway.control.boot import Offer
from gateway.control.cluster import Cluster
from gateway.publishing.change import ChangeRefused, Expire, Request
from gateway.publishing.publisher import Publisher
from gateway.state.errors import StateError
from gateway.state.members import Member
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf

LOG = logging.getLogger("turnout.control")
LOOK_S = 0.5
BREATH_S = 0.25  # between two looks: a heartbeat for each of many changes in a second costs as much as to publish them
BEAT_S = 2.0
ITSELF = "turnout"  # the author of what nobody asked for


class _Beat(NamedTuple):
    revision: int
    trouble: str
    hosted: tuple[str, ...]


class Vigil:
    """Keeps a gateway at what is live, and tells the others that it is there."""

    def __init__(
        self,
        publisher: Publisher,
        shelf: Shelf,
        offer: Offer,
        me: str,
        cluster: Cluster | None = None,
        *,
        is_watching: bool,
    ) -> None:
        """`me` is this gateway's name among those that share the state; `is_watching` minds the offer's directory."""
        self._publisher = publisher
        self._shelf = shelf
        self._offer = offer
        self.me = me
        self._cluster = cluster
        self._is_watching = is_watching and self.has_directory
        self._seen: Mapping[str, str] = offer.documents
        self._taken: Mapping[str, str] = offer.documents
        self._beaten_at = 0.0
        self._told = _Beat(-1, "", ())  # what the latest heartbeat said
        self._trouble = ""
        self.arms: Callable[[], tuple[ArmSeen, ...]] = tuple  # how they are run at the moment

    @property
    def has_directory(self) -> bool:
        """Whether there is one to read again."""
        return self._offer.folder is not None

    async def keep(self) -> None:
        """Until cancelled. The store may go away and come back: what is served stays."""
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            try:
                await self._publisher.follow()
                await self._expire()
                await self._beat()
                self._say("")
            except StateError as error:
                self._say(str(error))
            if self._is_watching:
                await self._look()
            await self._publisher.changed_within(LOOK_S)  # so that a heartbeat tells of a change at once
            await asyncio.sleep(began_at + BREATH_S - loop.time())

    async def take(self, cause: Cause) -> None:
        """Publish what is in the directory, whatever was there before."""
        folder = self._offer.folder
        assert folder is not None
        try:
            documents = await asyncio.to_thread(read_directory, folder)
            self._taken = documents
            await self._publish(documents, cause)
        except ConfigRefused as refused:
            LOG.error("%s is refused, nothing has changed:\n%s", folder, refused)  # noqa: TRY400

    async def leave(self) -> None:
        """Tell the others that this gateway ends."""
        try:
            await asyncio.to_thread(lambda: self._shelf.members().leave(self.me))
        except StateError as error:
            LOG.warning("the others cannot be told that this gateway ends: %s", error)

    async def _look(self) -> None:
        """Take what is new in the directory once it has looked the same twice: editors and kubelets write in steps."""
        assert self._offer.folder is not None
        try:
            documents = await asyncio.to_thread(read_directory, self._offer.folder)
        except ConfigRefused:
            return  # half written, or gone for a moment; whoever wants to know more sends SIGHUP
        is_settled = documents == self._seen
        self._seen = documents
        if not is_settled or documents == self._taken:
            return
        self._taken = documents
        try:
            if await asyncio.to_thread(lambda: self._shelf.store().has_documents(documents)):
                LOG.warning("%s went back to what was live before; turnout apply takes it", self._offer.folder)
            else:
                await self._publish(documents, Cause.WATCH)
        except StateError as error:
            self._taken = {}  # once the state is back
            LOG.error("%s cannot be taken: %s", self._offer.folder, error)  # noqa: TRY400

    async def _publish(self, documents: Mapping[str, str], cause: Cause) -> None:
        try:
            await self._publisher.publish(replace(self._offer, documents=documents, steps={}).request(cause))
        except (ConfigRefused, ChangeRefused, StateError) as refused:
            LOG.error("%s is refused, nothing has changed:\n%s", self._offer.folder, refused)  # noqa: TRY400

    async def _expire(self) -> None:
        meaning, today = self._publisher.meaning, self._publisher.today()
        over = [
            document.route
            for document in meaning.configuration.routes
            if document.is_expired(today) and not meaning.kept[document.route].is_expired
        ]
        if over and not meaning.for_all.frozen:
            reason = f"expired: {', '.join(over)}"
            await self._publisher.publish(Request(Expire(), ITSELF, Cause.CONTROL, reason, meaning.number))

    async def _beat(self) -> None:
        now = self._publisher.now()
        if now - self._beaten_at >= BEAT_S or self._is_news():
            told = self._to_tell()
            beat = Member(self.me, told.revision, told.trouble, now, told.hosted, self.arms())
            await asyncio.to_thread(lambda: self._shelf.members().beat(beat))
            self._beaten_at, self._told = now, told
            if self._cluster is not None:
                everybody = await asyncio.to_thread(lambda: self._shelf.members().all())
                self._cluster.spare(name for each in everybody if each.gateway != self.me for name in each.hosted)

    def _is_news(self) -> bool:
        return self._told != self._to_tell()

    def _to_tell(self) -> "_Beat":
        hosted = tuple(sorted(self._cluster.wanted)) if self._cluster is not None else ()
        return _Beat(self._publisher.meaning.number, self._publisher.trouble, hosted)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            LOG.log(
                logging.ERROR if trouble else logging.INFO, "the state is %s", f"away: {trouble}" if trouble else "back"
            )
        self._trouble = trouble
