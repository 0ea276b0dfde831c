"""Export and import: all revisions, the audit log, the ledger and clicks as lines of JSON, to move or to keep.

Tokens and the secret of feedback stay behind: whoever holds an export must not hold the means to operate or to click.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, Select, Table, func, insert, select

from gateway.state.audit import Entry, fault_of, read_entries, row_of
from gateway.state.clicks import MARK
from gateway.state.database import place_of, reading, writing
from gateway.state.errors import StateCorrupt, StateError, StateTooNew
from gateway.state.revision import Revision
from gateway.state.schema import (
    audit,
    experiment,
    feedback,
    first_bad,
    impression,
    lost,
    met,
    preference,
    revision,
    tally,
    unit_preference,
)
from gateway.state.store import read_revision, write_revision

FORMAT = 3  # 1 had no evidence, 2 no clicks
LEDGER = (experiment, tally, lost, first_bad, met)  # who reports to it is another matter in another place
EVIDENCE = (*LEDGER, impression, preference, unit_preference, feedback)
AT_ONCE = 1000  # rows in one insert


class Header(Struct, frozen=True, tag="header", tag_field="kind"):
    format: int


class RevisionLine(Struct, frozen=True, tag="revision", tag_field="kind"):
    digest: str
    revision: Revision


class AuditLine(Struct, frozen=True, tag="audit", tag_field="kind"):
    digest: str
    entry: Entry


class EvidenceLine(Struct, frozen=True, tag="evidence", tag_field="kind"):
    """A row of one of the tables of evidence."""

    table: str
    row: dict[str, int | float | str]


class Trailer(Struct, frozen=True, tag="end", tag_field="kind"):
    """Says how much there was, so that a file cut short is known as one."""

    revisions: int
    entries: int
    evidence: int = 0


Line = Header | RevisionLine | AuditLine | EvidenceLine | Trailer


class Imported(Struct, frozen=True):
    """How much an import brought."""

    revisions_n: int
    entries_n: int
    evidence_n: int = 0


class _Found(Struct):
    """The lines of an export, by kind."""

    revisions: list[RevisionLine] = []
    entries: list[AuditLine] = []
    evidence: list[EvidenceLine] = []

    @property
    def trailer(self) -> Trailer:
        """The last line that belongs to them."""
        return Trailer(len(self.revisions), len(self.entries), len(self.evidence))


def export_lines(engine: Engine) -> Iterator[bytes]:
    """The whole state but its tokens, a line at a time, in one consistent view. Raises StateCorrupt."""
    revisions_n = entries_n = evidence_n = 0
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
        for table in EVIDENCE:
            for row in connection.execute(_wanted(table)).mappings():
                yield _line(EvidenceLine(str(table.name), {str(name): value for name, value in row.items()}))
                evidence_n += 1
        yield _line(Trailer(revisions_n, entries_n, evidence_n))


def _wanted(table: Table) -> Select[Any]:
    """Of what is shared about clicks only how far they are settled: no click on an older list may come twice."""
    return select(table).where(table.c.name == MARK) if table is feedback else select(table)


def import_lines(engine: Engine, lines: Iterable[bytes]) -> Imported:
    """Fill an empty state, whole or not at all. Raises StateCorrupt, StateTooNew or StateError, naming the line."""
    found = _read(lines)
    _refuse_faults(found.revisions, found.entries)
    with writing(engine) as connection:
        if connection.execute(select(func.count()).select_from(revision)).scalar_one():
            raise StateError(f"{place_of(engine)} holds revisions already; import into a new place")
        if connection.execute(select(func.count()).select_from(audit)).scalar_one():
            raise StateError(f"{place_of(engine)} holds an audit log already; import into a new place")
        for line in found.revisions:
            write_revision(connection, line.revision)
        for each in found.entries:
            connection.execute(insert(audit).values(**row_of(each.entry)))
        for table in EVIDENCE:
            rows = [line.row for line in found.evidence if line.table == table.name and _may_come(line)]
            for start in range(0, len(rows), AT_ONCE):
                connection.execute(insert(table), rows[start : start + AT_ONCE])
    return Imported(len(found.revisions), len(found.entries), len(found.evidence))


def _may_come(line: EvidenceLine) -> bool:
    """Nobody's hand in a file shall choose the secret that clicks are signed with."""
    return line.table != feedback.name or line.row.get("name") == MARK


def _read(lines: Iterable[bytes]) -> _Found:
    decode = msgspec.json.Decoder(Line).decode
    found = _Found()
    trailer: Trailer | None = None
    for number, text in enumerate(lines, start=1):
        try:
            line = decode(text)
        except ValueError as error:
            raise StateCorrupt(f"line {number} is no line of an export: {error}") from None
        match line:
            case Header(format=theirs) if theirs > FORMAT:
                raise StateTooNew(f"the export has format {theirs}, this release reads {FORMAT}; use the later release")
            case RevisionLine():
                found.revisions.append(line)
            case AuditLine():
                found.entries.append(line)
            case EvidenceLine():
                found.evidence.append(line)
            case Trailer():
                trailer = line
    if trailer != found.trailer:
        raise StateCorrupt("the export is not whole: its last line does not count what came before it; export again")
    return found


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
