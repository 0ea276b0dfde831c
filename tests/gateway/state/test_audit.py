"""The audit log: whoever changes or removes an entry breaks the chain, and it shows."""

import pytest
from sqlalchemy import Engine, text

from gateway.state.audit import DETAIL_LIMIT, AuditLog, Deed


def tamper(engine: Engine, statement: str) -> None:
    """What somebody with the database's password can do."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            for verb in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER audit_no_{verb}"))
        else:
            connection.execute(text("DROP TRIGGER audit_append_only ON audit"))
        connection.execute(text(statement))


@pytest.fixture
def log(engine: Engine) -> AuditLog:
    kept = AuditLog(engine)
    for n in range(4):
        kept.record(Deed(f"author {n}", "apply", detail=f"change {n}"), at=float(n))
    return kept


def test_entries_are_numbered_and_come_newest_first(log: AuditLog) -> None:
    """An operator sees what happened last at the top, and can page on."""
    assert [4, 3] == [entry.number for entry in log.entries(limit_n=2)]
    assert [2, 1] == [entry.number for entry in log.entries(before=3)]


def test_an_untouched_log_is_whole(log: AuditLog) -> None:
    assert "" == log.verify()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit SET author = 'eve' WHERE number = 2", "entry 2 is not what was written"),
        ("UPDATE audit SET at = 9 WHERE number = 4", "entry 4 is not what was written"),
        ("DELETE FROM audit WHERE number = 3", "entry 3 is missing"),
        ("DELETE FROM audit WHERE number = 1", "entry 1 is missing"),
    ],
)
def test_what_was_changed_or_removed_is_named(log: AuditLog, engine: Engine, statement: str, fault: str) -> None:
    """Nobody can rewrite who did what without it being seen."""
    tamper(engine, statement)
    assert fault == log.verify()


def test_a_detail_has_a_bound(log: AuditLog) -> None:
    """A refused document of a megabyte does not grow the log by a megabyte."""
    entry = log.record(Deed("ann", "apply", "refused", "x" * 1_000_000), at=0.0)
    assert (DETAIL_LIMIT, "") == (len(entry.deed.detail), log.verify())
