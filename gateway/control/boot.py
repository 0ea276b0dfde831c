"""What a gateway serves when it starts: what its state says, else what its directory says, else what it remembers."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from gateway.config.problems import ConfigRefused
from gateway.control.notices import Receiver
from gateway.publishing.change import Apply, ChangeRefused, Request
from gateway.publishing.publisher import Publisher
from gateway.state.errors import StateCorrupt, StateUnavailable
from gateway.state.revision import NO_REVISION, Cause
from gateway.state.shelf import Shelf

LOG = logging.getLogger("turnout.control")
DOORS = (Cause.START, Cause.WATCH, Cause.SIGNAL)  # through which a directory's content comes


class BootRefused(Exception):
    """There is nothing that could be served, or not without harm to somebody else; the reason is for the operator."""


class Offer(Struct, frozen=True):
    """What was written where the gateway is started.

    `documents` are its texts, `refused` why they cannot be read, if so. `source` names the place; what is typed on a
    command line has none that lasts, `folder` is then None. `steps` are those that ramps shall stand at, from 1.
    `receivers` are told of what rollouts do.
    """

    source: str
    author: str
    documents: Mapping[str, str]
    folder: Path | None = None
    steps: Mapping[str, int] = {}
    refused: ConfigRefused | None = None
    receivers: tuple[Receiver, ...] = ()

    @property
    def change(self) -> Apply:
        return Apply(self.documents, source=self.source, steps=self.steps)

    def request(self, cause: Cause) -> Request:
        """To have it published."""
        return Request(self.change, self.author, cause, f"found in {self.source}")


async def boot(publisher: Publisher, shelf: Shelf, offer: Offer, me: str) -> None:
    """Have the publisher serve what it should. Raises BootRefused, ConfigRefused, ChangeRefused or StateError."""
    try:
        await publisher.follow()
        await asyncio.to_thread(_refuse_if_behind, shelf)
    except (StateUnavailable, StateCorrupt) as error:
        await _without_state(publisher, shelf, offer, error)
        return
    if publisher.trouble:
        raise BootRefused(f"the live revision cannot be served: {publisher.trouble}")
    if publisher.meaning.number == NO_REVISION:
        if offer.refused:
            raise offer.refused
        await publisher.publish(offer.request(Cause.START))
    elif await asyncio.to_thread(_is_wanted, publisher, shelf, offer, me):
        try:
            await publisher.publish(offer.request(Cause.START))
        except (ConfigRefused, ChangeRefused) as refused:
            _keep_on(publisher, offer, refused)


def _refuse_if_behind(shelf: Shelf) -> None:
    """A file cut to nothing is a new state to SQLite, and one from a backup is whole; neither is what was live last."""
    remembered, latest = shelf.remembered(), shelf.store().live_number()
    if shelf.is_here and remembered is not None and remembered.number > latest:
        raise BootRefused(
            f"the state's latest revision is {latest}, and revision {remembered.number} was served from it: its file "
            f"was cut or replaced by an older one; restore it, or remove {shelf.snapshot_files} to use it as it is"
        )


async def _without_state(
    publisher: Publisher, shelf: Shelf, offer: Offer, error: StateUnavailable | StateCorrupt
) -> None:
    """Serve what was live when the state was there last. Documents alone will do only for a state that is away."""
    remembered = await asyncio.to_thread(shelf.remembered)
    if remembered is not None:
        LOG.error("%s; serving revision %d, as it was remembered", error, remembered.number)
        await publisher.stand_in(remembered)
    elif isinstance(error, StateCorrupt) or offer.refused:
        raise error
    else:
        LOG.error("%s; serving what is written in %s, and keeping nothing", error, offer.source)
        await publisher.serve_unkept(offer.change)


def _is_wanted(publisher: Publisher, shelf: Shelf, offer: Offer, me: str) -> bool:
    """Whether the directory's content shall replace what is live, which it must not do to an undo or to others."""
    live, store = publisher.meaning, shelf.store()
    others = [each for each in shelf.members().present(publisher.now()) if each.gateway != me]
    if live.for_all.source != offer.source:
        if others:
            raise BootRefused(
                f"{others[0].gateway} serves {live.for_all.source} with this state, and {offer.source} would replace "
                "that; give this gateway a --state of its own"
            )
        return True
    if offer.refused:
        _keep_on(publisher, offer, offer.refused)
        return False
    if offer.steps or offer.documents == live.content.documents:  # models may have changed
        return True
    is_new = not store.has_documents(offer.documents)
    if is_new:
        try:
            store.check()
        except StateCorrupt as error:  # what looks new may be known, by a row that was damaged
            _keep_on(publisher, offer, error)
            return False
    if is_new or (not others and store.latest_documents(DOORS) != offer.documents):
        return True
    LOG.warning(
        "%s differs from the live revision %d, which is served; turnout apply %s takes what is in the directory",
        *(offer.source, live.number, offer.source),
    )
    return False


def _keep_on(publisher: Publisher, offer: Offer, refused: Exception) -> None:
    LOG.error("%s is refused, revision %d is served:\n%s", offer.source, publisher.meaning.number, refused)
