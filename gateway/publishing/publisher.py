"""The publisher: the only way a revision becomes live.

request -> prepare -> warm -> append -> swap, one change at a time; whatever fails before the last step changes nothing
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from time import time
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.contents import Contents
from gateway.config.diff import RouteDiff
from gateway.config.problems import ConfigRefused
from gateway.publishing.change import ANY, Apply, Change, ChangeRefused, Request, Undo, story
from gateway.publishing.prepare import Meaning, Prepared, meaning_of, nothing_yet, prepare
from gateway.state.audit import REFUSED, Deed
from gateway.state.errors import PublishConflict, StateError, UnknownRevision
from gateway.state.revision import NO_REVISION, Proposal, Revision
from gateway.state.shelf import Shelf

LOG = logging.getLogger("turnout.publish")
AGAIN_S = 10.0  # before a revision that could not be served is tried again: a file may have arrived


class Fleet(Protocol):
    """Those who serve what is published."""

    async def warm(self, meaning: Meaning) -> Mapping[str, str]:
        """Open what a revision needs; returns what could not be opened, with the reason, and then nothing stays."""
        ...

    def discard(self, number: int) -> None:
        """Close what was opened for a revision that will not be live."""
        ...

    async def swap(self, meaning: Meaning) -> None:
        """Serve it. Returns when requests are routed by it."""
        ...


class Published(Struct, frozen=True):
    """What a request came to. `revision` is None when there was nothing to change, or only a look was wanted."""

    live: int
    differences: tuple[RouteDiff, ...]
    revision: Revision | None = None


class Publisher:
    """Turns requests into revisions, and follows those of other gateways. All methods run on the event loop."""

    def __init__(
        self,
        shelf: Shelf,
        root: Path,
        fleet: Fleet,
        *,
        tell: Callable[[str, str, int], None] = lambda _kind, _message, _revision: None,
        clock: Callable[[], float] = time,
    ) -> None:
        """`root` is where relative paths of models begin; `tell` hears what became live, and what was refused."""
        self.meaning = nothing_yet(root)
        self.trouble = ""  # why this gateway does not serve the live revision, "" while it does
        self._shelf = shelf
        self._root = root
        self._fleet = fleet
        self._tell = tell
        self._clock = clock
        self._contents = Contents()
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._refused = NO_REVISION  # what could not be served
        self._again_at = 0.0  # and when it is tried again

    async def publish(self, request: Request, *, is_dry: bool = False) -> Published:
        """Make a change live, or only say what it would do.

        Raises ConfigRefused, ChangeRefused, PublishConflict or another StateError; then nothing has changed, and the
        audit log says that it was tried.
        """
        async with self._turn:
            try:
                return await self._publish(request, is_dry=is_dry)
            except (ConfigRefused, ChangeRefused, UnknownRevision, PublishConflict) as refused:
                if not is_dry:
                    await self._note(request, refused)
                raise

    async def follow(self) -> bool:
        """Serve what the store says is live. Returns whether anything changed; raises StateError.

        A revision that cannot be served here leaves the last good one in place, and `trouble` says so.
        """
        async with self._turn:
            return await self._catch_up()

    async def stand_in(self, revision: Revision) -> None:
        """Serve a revision that a snapshot remembers, while the store is away. Raises ConfigRefused."""
        async with self._turn:
            self.meaning = await self._understand(revision)
            await self._fleet.swap(self.meaning)

    async def serve_unkept(self, change: Apply) -> None:
        """Serve documents without keeping them, when there is neither a store nor a snapshot. Raises ConfigRefused."""
        async with self._turn:
            prepared = await self._prepare(self.meaning, change)
            self.meaning = replace(prepared.meaning, number=NO_REVISION)  # whatever a store says later is newer
            await self._fleet.swap(self.meaning)

    async def changed_within(self, limit_s: float) -> None:
        """Come back when something has become live here, or after so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):  # unlike wait_for before Python 3.12, it never swallows a cancellation
                await self._changed.wait()
        self._changed.clear()

    def now(self) -> float:
        """Unix time in seconds."""
        return self._clock()

    def today(self) -> date:
        """In UTC."""
        return datetime.fromtimestamp(self._clock(), UTC).date()

    async def _publish(self, request: Request, *, is_dry: bool) -> Published:
        live = await self._live()
        if request.expects not in (ANY, live.number):
            raise await asyncio.to_thread(self._conflict, request, is_dry=is_dry)
        prepared = await self._prepare(live, await self._resolved(request.change, live), request.author)
        if is_dry or prepared.meaning.content == live.content:
            return Published(live.number, prepared.differences)
        refused = await self._fleet.warm(prepared.meaning)
        if refused:
            raise ChangeRefused(f"{place}: {reason}" for place, reason in refused.items())
        proposal = Proposal(prepared.meaning.content, request.author, request.cause, story(request))
        try:
            revision = await asyncio.to_thread(
                lambda: self._shelf.store().append(proposal, replaces=live.number, at=self._clock())
            )
        except BaseException:
            self._fleet.discard(prepared.meaning.number)
            raise
        await self._go_live(prepared.meaning, revision)
        return Published(revision.number, prepared.differences, revision)

    async def _live(self) -> Meaning:
        """What the store says is live, which may be more than what this gateway could follow to."""
        number = await asyncio.to_thread(lambda: self._shelf.store().live_number())
        if number == self.meaning.number:
            return self.meaning
        return await self._understand(await asyncio.to_thread(lambda: self._shelf.store().get(number)))

    async def _prepare(self, live: Meaning, change: Change, author: str = "") -> Prepared:
        known = partial(prepare, today=self.today(), contents=self._contents, author=author, now_s=self._clock())
        return await asyncio.to_thread(known, live, change)

    async def _resolved(self, change: Change, live: Meaning) -> Change:
        """Undo as the documents it stands for."""
        if not isinstance(change, Undo):
            return change
        documents = await asyncio.to_thread(self._documents_of, change.to_revision, live.number)
        return Apply(documents, change.restart)

    def _documents_of(self, number: int, live: int) -> Mapping[str, str]:
        store = self._shelf.store()
        number = number or store.before_documents(live)
        if number == NO_REVISION:
            raise UnknownRevision("nothing came before the documents that are live")
        return store.get(number).content.documents

    def _conflict(self, request: Request, *, is_dry: bool) -> PublishConflict:
        """The conflict of a request that was made for another revision, written down as the store does with its own."""
        live = self._shelf.store().live()
        who = (live.number, live.author, live.at) if live else (NO_REVISION, "", 0.0)
        conflict = PublishConflict(request.expects, *who)
        if not is_dry:
            self._shelf.audit().record(_refusal(request, conflict), at=self._clock())
        return conflict

    async def _catch_up(self) -> bool:
        number = await asyncio.to_thread(lambda: self._shelf.store().live_number())
        if number == self.meaning.number:
            self.trouble = ""
            return False
        if number == self._refused and self._clock() < self._again_at:
            return False
        revision = await asyncio.to_thread(lambda: self._shelf.store().get(number))
        try:
            meaning = await self._understand(revision)
            refused = await self._fleet.warm(meaning)
        except (ConfigRefused, ValueError) as error:
            refused = {f"revision {number}": str(error)}
        if refused:
            trouble = "; ".join(f"{place}: {reason}" for place, reason in refused.items())
            if trouble != self.trouble:
                self._tell("revision_refused", f"revision {number} by {revision.author}: {trouble}", number)
            self.trouble, self._refused, self._again_at = trouble, number, self._clock() + AGAIN_S
            return False
        await self._go_live(meaning, revision, "revision_followed")
        return True

    async def _understand(self, revision: Revision) -> Meaning:
        return await asyncio.to_thread(meaning_of, revision, self._root)

    async def _go_live(self, meaning: Meaning, revision: Revision, kind: str = "revision_published") -> None:
        self.meaning, self.trouble = meaning, ""
        await self._fleet.swap(meaning)
        reason = f": {revision.reason}" if revision.reason else ""
        message = f"revision {revision.number} by {revision.author} ({revision.cause}){reason}"
        self._tell(kind, message, revision.number)
        self._changed.set()
        await asyncio.to_thread(self._shelf.remember, revision)

    async def _note(self, request: Request, refused: Exception) -> None:
        self._tell("change_refused", f"by {request.author}: {refused}", self.meaning.number)
        if isinstance(refused, PublishConflict):
            return  # it is written down where it is found
        deed = _refusal(request, refused)
        try:
            await asyncio.to_thread(lambda: self._shelf.audit().record(deed, at=self._clock()))
        except StateError as error:
            LOG.error("a refusal could not be written down: %s", error)  # noqa: TRY400 - the sentence is enough


def _refusal(request: Request, why: Exception) -> Deed:
    return Deed(request.author, request.cause, REFUSED, str(why))
