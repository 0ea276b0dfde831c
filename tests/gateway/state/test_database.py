"""Opening a state: migrated once, refused clearly when it is damaged, newer, or of another kind."""

import random
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.engine import URL

from gateway.state.database import FILE, SCHEMA, database_url, open_database
from gateway.state.errors import StateCorrupt, StateError, StateTooNew, StateUnavailable
from gateway.state.revision import Cause, Content, Proposal
from gateway.state.schema import METADATA
from gateway.state.store import RevisionStore

DAMAGES_N = 100


def test_migrations_make_the_tables_that_the_code_knows(place: URL) -> None:
    """A new database and one that was migrated through every release are the same."""
    engine = open_database(place)
    with engine.connect() as connection:
        assert [] == compare_metadata(MigrationContext.configure(connection), METADATA)
    engine.dispose()


def test_opening_again_changes_nothing(place: URL) -> None:
    """A restart finds what the process before it left."""
    for number in range(2):
        engine = open_database(place)
        RevisionStore(engine).append(Proposal(Content({}), "ann", Cause.APPLY), replaces=number, at=0.0)
        engine.dispose()
    engine = open_database(place)
    assert 2 == RevisionStore(engine).live_number()
    engine.dispose()


def test_a_state_of_a_later_release_is_refused_by_name(place: URL) -> None:
    """After a downgrade the old release says what it found and what to do, and touches nothing."""
    engine = open_database(place)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StateTooNew, match=f"at 9999, this release knows {SCHEMA}"):
        open_database(place)


def test_a_database_that_is_away_is_no_crash(tmp_path: Path) -> None:
    """PostgreSQL is down: one line with the place and without the password."""
    url = database_url(tmp_path, "postgres://ann:hunter2@127.0.0.1:1/turnout")
    with pytest.raises(StateUnavailable) as caught:
        open_database(url)
    assert ("127.0.0.1:1" in str(caught.value), "hunter2" in str(caught.value)) == (True, False)


@pytest.mark.parametrize("url", ["mysql://host/x", "no url at all", "sqlite+aiosqlite:///x"])
def test_another_kind_of_database_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StateError, match="write postgresql://"):
        database_url(tmp_path, url)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder stands where the file should: said with its place."""
    (tmp_path / FILE).mkdir()
    with pytest.raises(StateUnavailable, match="unable to open database file"):
        open_database(database_url(tmp_path))


def test_a_damaged_file_gives_the_last_good_revision_or_a_clear_refusal(tmp_path: Path) -> None:
    """Truncated or with a bit flipped, a hundred times: never another revision, never a traceback."""
    url = database_url(tmp_path)
    engine = open_database(url)
    store = RevisionStore(engine)
    written = [
        store.append(Proposal(Content({"a.yaml": f"text {n} " * 50}), "ann", Cause.APPLY), replaces=n, at=float(n))
        for n in range(20)
    ]
    engine.dispose()
    file = tmp_path / FILE
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    whole, chance = file.read_bytes(), random.Random(7)
    outcomes = {"good": 0, "refused": 0}
    for n in range(DAMAGES_N):
        for stray in tmp_path.glob(FILE + "-*"):
            stray.unlink()
        file.write_bytes(damaged(whole, chance, is_cut=n % 4 == 0))
        outcomes[outcome(url, written)] += 1
    assert DAMAGES_N == sum(outcomes.values())
    assert min(outcomes.values()) > 0, outcomes


def damaged(whole: bytes, chance: random.Random, *, is_cut: bool) -> bytes:
    place = chance.randrange(len(whole))
    if is_cut:
        return whole[:place]
    return whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :]


def outcome(url: URL, written: list[object]) -> str:
    try:
        engine = open_database(url)
        try:
            live = RevisionStore(engine).live()
        finally:
            engine.dispose()
    except (StateCorrupt, StateUnavailable, StateTooNew):
        return "refused"
    assert live in (written[-1], None), live  # an empty file is a new state
    return "good"
