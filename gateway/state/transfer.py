"""Export and import: all revisions and the audit log as lines of JSON, to move or to keep.

Tokens stay behind: whoever holds an export must not hold the means to operate, and a new place has new secrets.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, func, insert, select

from gateway.state.audit import Entry, fault_of, read_entries, row_of
from gateway.state.database import place_of, reading, writing
from gateway.state.errors import StateCorrupt, StateError, StateTooNew
from gateway.state.revision import Revision
from gateway.state.schema import audit, revision
from gateway.state.store import read_revision, write_revision

FORMAT = 1


class Header(Struct, frozen=True, tag="header", tag_field="kind"):
    format: int


class RevisionLine(Struct, frozen=True, tag="revision", tag_field="kind"):
    digest: str
    revision: Revision


class AuditLine(Struct, frozen=True, tag="audit", tag_field="kind"):
    digest: str
    entry: Entry


class Trailer(Struct, frozen=True, tag="end", tag_field="kind"):
    """Says how much there was, so that a file cut short is known as one."""

    revisions: int
    entries: int


Line = Header | RevisionLine | AuditLine | Trailer


class Imported(Struct, frozen=True):
    """How much an import brought."""

    revisions_n: int
    entries_n: int


def export_lines(engine: Engine) -> Iterator[bytes]:
    """The whole state but its tokens, a line at a time, in one consistent view. Raises StateCorrupt."""
    revisions_n = entries_n = 0
    with reading(engine) as connection:
        yield _line(Header(FORMAT))
        for number in connection.execute(select(revision.c.number).order_by(revision.c.number)).scalars().all():
            row = connection.execute(select(revision).where(revision.c.number == number)).mappings().one()
            value = read_revision(connection, row, place_of(engine))
            yield _line(RevisionLine(value.digest, value))
            revisions_n += 1
        for entry, digest in read_entries(connection):
            yield _line(AuditLine(digest, entry))
            entries_n += 1
        yield _line(Trailer(revisions_n, entries_n))


def import_lines(engine: Engine, lines: Iterable[bytes]) -> Imported:
    """Fill an empty state, whole or not at all. Raises StateCorrupt, StateTooNew or StateError, naming the line."""
    revisions, entries = _read(lines)
    _refuse_faults(revisions, entries)
    with writing(engine) as connection:
        if connection.execute(select(func.count()).select_from(revision)).scalar_one():
            raise StateError(f"{place_of(engine)} holds revisions already; import into a new place")
        if connection.execute(select(func.count()).select_from(audit)).scalar_one():
            raise StateError(f"{place_of(engine)} holds an audit log already; import into a new place")
        for line in revisions:
            write_revision(connection, line.revision)
        for each in entries:
            connection.execute(insert(audit).values(**row_of(each.entry)))
    return Imported(len(revisions), len(entries))


def _read(lines: Iterable[bytes]) -> tuple[list[RevisionLine], list[AuditLine]]:
    decode = msgspec.json.Decoder(Line).decode
    revisions: list[RevisionLine] = []
    entries: list[AuditLine] = []
    trailer: Trailer | None = None
    for number, text in enumerate(lines, start=1):
        try:
            line = decode(text)
        except ValueError as error:
            raise StateCorrupt(f"line {number} is no line of an export: {error}") from None
        match line:
            case Header(format=found) if found > FORMAT:
                raise StateTooNew(f"the export has format {found}, this release reads {FORMAT}; use the later release")
            case RevisionLine():
                revisions.append(line)
            case AuditLine():
                entries.append(line)
            case Trailer():
                trailer = line
    if trailer != Trailer(len(revisions), len(entries)):
        raise StateCorrupt("the export is not whole: its last line does not count what came before it; export again")
    return revisions, entries


def _refuse_faults(revisions: list[RevisionLine], entries: list[AuditLine]) -> None:
    previous = ""
    for number, line in enumerate(revisions, start=1):
        if (line.revision.number, line.revision.previous, line.revision.digest) != (number, previous, line.digest):
            raise StateCorrupt(f"revision {line.revision.number} of the export is not what was written; export again")
        previous = line.digest
    fault = fault_of((line.entry, line.digest) for line in entries)
    if fault:
        raise StateCorrupt(f"the audit log of the export is broken: {fault}; export again")


def _line(value: Line) -> bytes:
    return msgspec.json.encode(value) + b"\n"
