"""The revision store: append-only, compare-and-set, verified on every read."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.engine import RowMapping

from gateway.state.audit import Deed, chain
from gateway.state.database import place_of, reading, writing
from gateway.state.errors import PublishConflict, StateCorrupt, UnknownRevision
from gateway.state.revision import NO_REVISION, Cause, Content, Proposal, Revision, number_next, text_digest
from gateway.state.schema import revision as table
from gateway.state.schema import text as texts


class Head(Struct, frozen=True):
    """A revision without its content, for lists."""

    number: int
    at: float
    author: str
    cause: Cause
    reason: str
    digest: str


class RevisionStore:
    """Holds every revision there was. Any of several gateways may append; what is stored never changes.

    Methods block for the time of a transaction and may be called from any thread. They raise StateUnavailable when the
    database is away, and StateCorrupt when what is read is not what was written.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def live_number(self) -> int:
        """The number of the latest revision, 0 when there is none. Cheap enough to ask twice a second."""
        with reading(self._engine) as connection:
            return _live_number(connection)

    def live(self) -> Revision | None:
        """The latest revision, None when there is none."""
        with reading(self._engine) as connection:
            return self._at(connection, _live_number(connection))

    def get(self, number: int) -> Revision:
        """Raises UnknownRevision."""
        with reading(self._engine) as connection:
            found = self._at(connection, number)
            if found is None:
                raise UnknownRevision(f"there is no revision {number}; the latest is {_live_number(connection)}")
            return found

    def history(self, *, limit_n: int = 100, before: int | None = None) -> tuple[Head, ...]:
        """The latest revisions, newest first; `before` is a number to continue below."""
        columns = [table.c[name] for name in Head.__struct_fields__]
        query = select(*columns).order_by(table.c.number.desc()).limit(limit_n)
        if before is not None:
            query = query.where(table.c.number < before)
        with reading(self._engine) as connection:
            return tuple(
                Head(row.number, row.at, row.author, Cause(row.cause), row.reason, row.digest)
                for row in connection.execute(query)
            )

    def before_documents(self, number: int) -> int:
        """The latest revision before `number` whose documents are others, 0 when there is none."""
        here = select(table.c.documents).where(table.c.number == number).scalar_subquery()
        query = select(func.max(table.c.number)).where(table.c.number < number, table.c.documents != here)
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar() or NO_REVISION)

    def has_documents(self, documents: Mapping[str, str]) -> bool:
        """Whether any revision had exactly these documents."""
        digests = _json({path: text_digest(content) for path, content in documents.items()})
        query = select(table.c.number).where(table.c.documents == digests).limit(1)
        with reading(self._engine) as connection:
            return connection.execute(query).scalar() is not None

    def check(self) -> None:
        """Read all there is. Raises StateCorrupt for the first revision that is not what was written."""
        with reading(self._engine) as connection:
            for row in connection.execute(select(table).order_by(table.c.number)).mappings().all():
                read_revision(connection, row, place_of(self._engine))

    def latest_documents(self, causes: Collection[Cause]) -> Mapping[str, str]:
        """The documents of the latest revision with one of these causes, none when there is no such revision."""
        query = select(func.max(table.c.number)).where(table.c.cause.in_([cause.value for cause in causes]))
        with reading(self._engine) as connection:
            found = self._at(connection, int(connection.execute(query).scalar() or NO_REVISION))
        return found.content.documents if found else {}

    def append(self, proposal: Proposal, *, replaces: int, at: float) -> Revision:
        """Publish `proposal` in place of revision `replaces` (0: the first), with its audit entry in one transaction.

        Raises PublishConflict when another revision is live; then nothing but the refusal is stored.
        """
        with writing(self._engine) as connection:
            live = self._at(connection, _live_number(connection))
            live_number = live.number if live else NO_REVISION
            if live_number == replaces:
                revision = number_next(live, proposal, at=at)
                write_revision(connection, revision)
                chain(connection, Deed(proposal.author, proposal.cause, detail=_detail(revision)), at=at)
                return revision
        conflict = PublishConflict(replaces, live_number, live.author if live else "", live.at if live else 0.0)
        with writing(self._engine) as connection:
            chain(connection, Deed(proposal.author, proposal.cause, "refused", str(conflict)), at=at)
        raise conflict

    def _at(self, connection: Connection, number: int) -> Revision | None:
        row = connection.execute(select(table).where(table.c.number == number)).mappings().one_or_none()
        return read_revision(connection, row, place_of(self._engine)) if row else None


def write_revision(connection: Connection, revision: Revision) -> None:
    """Insert a revision and those of its texts that are not stored yet."""
    documents = {path: text_digest(content) for path, content in revision.content.documents.items()}
    states = {route: text_digest(content) for route, content in revision.content.states.items()}
    contents = (*revision.content.documents.values(), *revision.content.states.values())
    wanted = {text_digest(content): content for content in contents}
    known = connection.execute(select(texts.c.digest).where(texts.c.digest.in_(list(wanted)))).scalars()
    missing = wanted.keys() - set(known)
    if missing:
        connection.execute(insert(texts), [{"digest": digest, "content": wanted[digest]} for digest in sorted(missing)])
    connection.execute(
        insert(table).values(
            number=revision.number,
            digest=revision.digest,
            previous=revision.previous,
            at=revision.at,
            author=revision.author,
            cause=revision.cause.value,
            reason=revision.reason,
            documents=_json(documents),
            states=_json(states),
        )
    )


def read_revision(connection: Connection, row: RowMapping, place: str) -> Revision:
    """A row with its texts, as the value that was written. Raises StateCorrupt, with the cure, if it is another."""
    try:
        documents = msgspec.json.decode(row["documents"], type=dict[str, str])
        states = msgspec.json.decode(row["states"], type=dict[str, str])
        digests = {*documents.values(), *states.values()}
        found = connection.execute(select(texts).where(texts.c.digest.in_(digests)))
        stored = {each.digest: each.content for each in found}
        revision = Revision(
            number=row["number"],
            previous=row["previous"],
            at=row["at"],
            author=row["author"],
            cause=Cause(row["cause"]),
            reason=row["reason"],
            content=Content(_resolve(documents, stored), _resolve(states, stored)),
        )
        is_intact = revision.digest == row["digest"]
    except (KeyError, ValueError, TypeError, UnicodeError):
        is_intact = False
    if not is_intact:
        raise StateCorrupt(
            f"{place}: revision {row['number']} is not what was written; restore the state, or import an export"
        )
    return revision


def _resolve(digests: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    return {name: stored[digest] for name, digest in digests.items()}


def _live_number(connection: Connection) -> int:
    return int(connection.execute(select(func.max(table.c.number))).scalar() or NO_REVISION)


def _detail(revision: Revision) -> str:
    return f"revision {revision.number} {revision.digest}" + (f": {revision.reason}" if revision.reason else "")


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
