"""Revisions as values: the numbered whole that is live. Nothing here reads a clock, a file or a database."""

from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256

import msgspec
from msgspec import Struct

NO_REVISION = 0  # what the first revision replaces


class Cause(StrEnum):
    """Which door a revision came through."""

    START = "start"  # the directory a gateway was first started with
    APPLY = "apply"
    WATCH = "watch"  # a watched directory changed
    SIGNAL = "signal"
    UNDO = "undo"
    OPERATE = "operate"  # advance, promote, rollback, hold, resume
    CONTROL = "control"  # the control loop, as its own author
    IMPORT = "import"


class Content(Struct, frozen=True):
    """What a revision consists of.

    `documents` maps a path relative to the configuration's root to the text as it was written. `states` maps a route to
    what the gateway itself keeps for it between revisions, as JSON text: where its ramp stands, and its interval map.
    """

    documents: Mapping[str, str]
    states: Mapping[str, str] = {}


class Proposal(Struct, frozen=True):
    """A revision before it has a number. `author` is who asked for it, `reason` why, in their words."""

    content: Content
    author: str
    cause: Cause
    reason: str = ""


class Revision(Struct, frozen=True):
    """A published whole. Numbers rise by one; `previous` is the digest of the revision it replaced, "" for the first.

    `at` is Unix time in seconds. The digest covers everything here, `previous` included, so no revision can be changed
    without changing all that came after it.
    """

    number: int
    previous: str
    at: float
    author: str
    cause: Cause
    reason: str
    content: Content

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
        return digest_of(self)


def number_next(live: Revision | None, proposal: Proposal, *, at: float) -> Revision:
    """The revision that `proposal` becomes when it replaces `live`."""
    return Revision(
        number=(live.number if live else NO_REVISION) + 1,
        previous=live.digest if live else "",
        at=at,
        author=proposal.author,
        cause=proposal.cause,
        reason=proposal.reason,
        content=proposal.content,
    )


def digest_of(value: Struct) -> str:
    """SHA-256 over JSON with sorted keys, so that equal values have equal digests whatever their maps' order."""
    return sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of a text as UTF-8."""
    return sha256(text.encode()).hexdigest()
