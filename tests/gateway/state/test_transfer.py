"""Export and import: the same history in a new place, or a refusal that names the line."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.state.audit import AuditLog
from gateway.state.database import database_url, open_database
from gateway.state.errors import StateCorrupt, StateError, StateTooNew
from gateway.state.revision import Cause, Content, Proposal
from gateway.state.store import RevisionStore
from gateway.state.tokens import TokenRole, Tokens
from gateway.state.transfer import Imported, export_lines, import_lines


@pytest.fixture
def filled(tmp_path: Path) -> Engine:
    engine = open_database(database_url(tmp_path / "old"))
    store = RevisionStore(engine)
    for n in range(3):
        store.append(Proposal(Content({"a.yaml": f"text {n}"}), "ann", Cause.APPLY), replaces=n, at=float(n))
    Tokens(engine).create("ci", TokenRole.OPERATE, lifetime_s=10.0, author="ann", now=0.0)
    return engine


def test_what_was_exported_is_the_same_in_another_database(filled: Engine, engine: Engine) -> None:
    """From a laptop's file to PostgreSQL: every revision, every entry, both still verified; no token."""
    assert Imported(3, 4) == import_lines(engine, export_lines(filled))
    old, new = RevisionStore(filled), RevisionStore(engine)
    assert [old.get(n) for n in (1, 2, 3)] == [new.get(n) for n in (1, 2, 3)]
    assert (AuditLog(filled).entries(), "") == (AuditLog(engine).entries(), AuditLog(engine).verify())
    assert () == Tokens(engine).all()


def test_a_state_that_is_in_use_is_not_overwritten(filled: Engine) -> None:
    with pytest.raises(StateError, match="holds revisions already"):
        import_lines(filled, list(export_lines(filled)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: lines[:-1], "not whole"),
        (lambda lines: [*lines[:2], *lines[3:]], "not whole"),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "revision 3 of the export"),
        (lambda lines: [re.sub(b"text 1", b"text 9", line) for line in lines], "revision 2 of the export"),
        (lambda lines: [re.sub(b'"token.create"', b'"token.forged"', line) for line in lines], "entry 4 is not"),
        (lambda lines: [*lines[:3], b"garbage\n", *lines[3:]], "line 4"),
    ],
)
def test_a_spoilt_export_brings_nothing(filled: Engine, tmp_path: Path, spoil: object, message: str) -> None:
    """Cut short, reordered or edited by hand: refused whole, with what is wrong."""
    new = open_database(database_url(tmp_path / "new"))
    with pytest.raises(StateCorrupt, match=message):
        import_lines(new, spoil(list(export_lines(filled))))  # type: ignore[operator]
    assert 0 == RevisionStore(new).live_number()
    new.dispose()


def test_an_export_of_a_later_release_is_refused(filled: Engine, tmp_path: Path) -> None:
    new = open_database(database_url(tmp_path / "new"))
    first, *others = export_lines(filled)
    with pytest.raises(StateTooNew, match="format 9"):
        import_lines(new, [first.replace(b"1", b"9"), *others])
    new.dispose()
