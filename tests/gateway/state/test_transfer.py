"""Export and import: the same history in a new place, or a refusal that names the line."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine

from gateway.increments import Bad, CellIncrement, CellKey, Counts, Increment
from gateway.link import Click
from gateway.state.audit import AuditLog
from gateway.state.bookings import Booking, Bookings
from gateway.state.clicks import Clicks
from gateway.state.closing import Reporter
from gateway.state.database import database_url, open_database
from gateway.state.errors import StateCorrupt, StateError, StateTooNew
from gateway.state.ledger import Ledger
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


def test_evidence_goes_along_and_counting_goes_on(filled: Engine, engine: Engine) -> None:
    """A canary that moves house keeps its proofs: the same epochs, and whom it has met is not met again."""
    epoch, now = 1000, 10_013.0
    key = CellKey("digits@1", 0, '{"new":10000,"old":990000}', epoch, "new")
    increment = Increment(2, 0, 2, 0, units=[1, -(2**63)], bad=[Bad("error_rate", 1, "e", 1.5)])
    counts = Counts(epoch + 1, {}, [CellIncrement(key, increment)], {"digits@1": [epoch]})
    Bookings(filled).book([Booking("w", 1, counts)], Reporter("a", epoch + 1, {}, now), {})
    assert 6 == import_lines(engine, export_lines(filled)).evidence_n
    old, new = Ledger(filled), Ledger(engine)
    assert (old.epochs("digits@1"), old.offending("digits@1", "new", "error_rate")) == (
        new.epochs("digits@1"),
        new.offending("digits@1", "new", "error_rate"),
    )
    again = Counts(epoch + 2, {}, [CellIncrement(replace(key, epoch=epoch + 1), increment)])
    Bookings(engine).book([Booking("v", 1, again)], Reporter("b", epoch + 2, {}, now + 10), {})
    later = new.epochs("digits@1", after=epoch)[0].arms["new"]
    assert (2, 0, {"error_rate": 0}) == (later.requests_n, later.units_n, {"error_rate": 0} | dict(later.events))


def test_clicks_go_along_and_none_counts_twice(filled: Engine, engine: Engine) -> None:
    """Open lists, what settled ones said, and how far settling has come; the secret that signs tokens stays behind."""
    rankers, fresh = ("steady", "fresh"), (0, 1_000_000)
    settled, opened = (
        Click("shop@1", event, 0, 0, "u1", at, rankers, fresh) for event, at in (("a", 100.0), ("b", 5000.0))
    )
    old, new = Clicks(filled), Clicks(engine)
    old.share_secret(b"ours")
    old.keep([settled])
    old.settle(4000.0, 1800.0)
    old.keep([opened])
    lines = [
        *export_lines(filled),
    ]
    assert not any(b"ours".hex().encode() in line for line in lines)
    import_lines(engine, lines)
    assert old.standing("shop@1") == new.standing("shop@1")
    assert ["late", "duplicate"] == new.keep([settled, opened])
    assert b"theirs" == new.share_secret(b"theirs")
    for each in (old, new):
        each.settle(1e6, 1800.0)
    assert old.standing("shop@1") == new.standing("shop@1")


def test_a_file_cannot_choose_the_secret_of_clicks(filled: Engine, engine: Engine) -> None:
    *others, last = export_lines(filled)
    chosen = b'{"kind":"evidence","table":"feedback","row":{"name":"key","value":"00"}}\n'
    import_lines(engine, [*others, chosen, last.replace(b'"evidence":0', b'"evidence":1')])
    assert b"ours" == Clicks(engine).share_secret(b"ours")


def test_an_export_of_the_release_before_is_taken(filled: Engine, tmp_path: Path) -> None:
    """It had no evidence, and its last line did not count any."""
    new = open_database(database_url(tmp_path / "new"))
    first, *others, last = export_lines(filled)
    import_lines(new, [first.replace(b"3", b"1"), *others, last.replace(b',"evidence":0', b"")])
    assert 3 == RevisionStore(new).live_number()
    new.dispose()


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
        import_lines(new, [first.replace(b"3", b"9"), *others])
    new.dispose()
