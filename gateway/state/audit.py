"""The audit log: who asked for what and what came of it, refusals included, each row chained to the one before."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Engine, insert, select

from gateway.state.database import reading, writing
from gateway.state.revision import digest_of
from gateway.state.schema import audit

DONE, REFUSED = "done", "refused"
DETAIL_LIMIT = 4096  # characters; a document is found by its revision, not here


class Deed(Struct, frozen=True):
    """What somebody did. `outcome` is "done" or "refused", `detail` says what exactly, or why not."""

    author: str
    action: str
    outcome: str = DONE
    detail: str = ""


class Entry(Struct, frozen=True):
    """A deed as it was written down: number from 1, Unix time, digest of the entry before ("" for the first)."""

    number: int
    at: float
    deed: Deed
    previous: str

    @property
    def digest(self) -> str:
        return digest_of(self)


class AuditLog:
    """Appends and reads entries. Raises StateUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, deed: Deed, *, at: float) -> Entry:
        with writing(self._engine) as connection:
            return chain(connection, deed, at=at)

    def entries(self, *, limit_n: int = 1000, before: int | None = None) -> tuple[Entry, ...]:
        """The latest entries, newest first; `before` is a number to continue below."""
        query = select(audit).order_by(audit.c.number.desc()).limit(limit_n)
        if before is not None:
            query = query.where(audit.c.number < before)
        with reading(self._engine) as connection:
            return tuple(entry for entry, _ in _read(connection.execute(query).mappings()))

    def verify(self) -> str:
        """What is wrong with the chain, in words; "" when every entry is as it was written."""
        with reading(self._engine) as connection:
            return fault_of(read_entries(connection))


def chain(connection: Connection, deed: Deed, *, at: float) -> Entry:
    """Append within the caller's own transaction, so that a change and its entry are stored together or not at all."""
    last = connection.execute(
        select(audit.c.number, audit.c.digest).order_by(audit.c.number.desc()).limit(1)
    ).one_or_none()
    deed = Deed(deed.author, deed.action, deed.outcome, deed.detail[:DETAIL_LIMIT])
    entry = Entry(last.number + 1 if last else 1, at, deed, last.digest if last else "")
    connection.execute(insert(audit).values(**row_of(entry)))
    return entry


def read_entries(connection: Connection) -> Iterator[tuple[Entry, str]]:
    """All entries, oldest first, each with the digest stored beside it."""
    everything = select(audit).order_by(audit.c.number)
    with connection.execute(everything, execution_options={"yield_per": 1000}) as rows:
        yield from _read(rows.mappings())


def row_of(entry: Entry) -> dict[str, Any]:
    """An entry as a row of its table."""
    deed = entry.deed
    return {
        "number": entry.number,
        "at": entry.at,
        "author": deed.author,
        "action": deed.action,
        "outcome": deed.outcome,
        "detail": deed.detail,
        "previous": entry.previous,
        "digest": entry.digest,
    }


def fault_of(stored: Iterable[tuple[Entry, str]]) -> str:
    """The first thing wrong with entries, oldest first, each with the digest stored beside it; "" for nothing."""
    previous, number = "", 0
    for entry, digest in stored:
        if entry.number != number + 1:
            return f"entry {number + 1} is missing"
        if entry.previous != previous:
            return f"entry {entry.number} does not follow the one before it"
        if entry.digest != digest:
            return f"entry {entry.number} is not what was written"
        previous, number = digest, entry.number
    return ""


def _read(rows: Iterable[Mapping[Any, Any]]) -> Iterator[tuple[Entry, str]]:
    for row in rows:
        deed = Deed(row["author"], row["action"], row["outcome"], row["detail"])
        yield Entry(row["number"], row["at"], deed, row["previous"]), row["digest"]
