"""The database under the state: one SQLite file, or PostgreSQL by URL. Opened, checked and brought up to date here.

SQLite runs in WAL mode with full syncs: what a caller was told is stored survives a power cut. Writers take turns: in
SQLite by BEGIN IMMEDIATE, in PostgreSQL by an advisory lock, so compare-and-set needs no retry.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from sqlite3 import OperationalError as SQLiteError
from threading import Lock
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError, SQLAlchemyError

from gateway.state.errors import StateCorrupt, StateError, StateTooNew, StateUnavailable

FILE = "state.db"
SCHEMA = "0006"  # the newest migration this release knows
BUSY_S = 5.0  # how long a writer waits for its turn
AGAIN_S = 0.01  # between two attempts where SQLite itself does not wait
TURN = "turnout_turn"  # under this name an engine carries the lock of its writers
CONNECT_S = 5
WRITERS_LOCK = 0x7475726E  # PostgreSQL's advisory locks are numbers; this one is ours
MIGRATIONS = Path(__file__).with_name("migrations")
_POSTGRES = re.compile(r"postgres(ql)?(\+psycopg)?$")


def database_url(folder: Path, url: str = "") -> URL:
    """Where the state lies: at `url`, or in a file in `folder`. Raises StateError for a URL of another kind."""
    if not url:
        return URL.create("sqlite", database=str(folder / FILE))
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StateError("the state's URL cannot be read; write postgresql://USER:PASSWORD@HOST/DATABASE") from None
    if not _POSTGRES.match(parsed.drivername):
        raise StateError(f"state is kept in SQLite or PostgreSQL, not {parsed.drivername}; write postgresql://…")
    return parsed.set(drivername="postgresql+psycopg")


def open_database(url: URL) -> Engine:
    """Connect, check that nothing is damaged, and migrate to this release's tables.

    Raises StateUnavailable, StateCorrupt or StateTooNew, each naming the place without a password.
    """
    place = url.render_as_string(hide_password=True)
    is_file = url.drivername == "sqlite"
    try:
        engine = (
            _file_engine(url)
            if is_file
            else create_engine(url, pool_pre_ping=True, pool_size=2, connect_args={"connect_timeout": CONNECT_S})
        )
    except (ModuleNotFoundError, NoSuchModuleError):
        raise StateError("PostgreSQL needs a driver that is not installed: pip install 'turnout[postgres]'") from None
    try:
        with translated(place):
            if is_file:
                _check_file(engine, place)
            _migrate(engine, place)
    except StateError:
        engine.dispose()
        raise
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection with one consistent view. Raises StateUnavailable or StateCorrupt."""
    with translated(place_of(engine)), engine.begin() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection that is the only writer until the block ends, when everything or nothing is stored.

    Writers of one process take turns by a lock: SQLite lets those who wait look again now and then, and on a crowded
    machine the one in a hurry may miss its turn for minutes.
    """
    writer = engine.execution_options(is_writing=True)
    turn = engine.get_execution_options().get(TURN) or nullcontext()
    with turn, translated(place_of(engine)), writer.begin() as connection:
        if engine.dialect.name != "sqlite":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": WRITERS_LOCK})
        yield connection


def place_of(engine: Engine) -> str:
    """Where the state lies, fit to be shown."""
    return engine.url.render_as_string(hide_password=True)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what drivers raise into StateError. A locked or absent database may come back; a damaged one does not."""
    try:
        yield
    except OperationalError as error:
        raise StateUnavailable(f"{place}: {_first_line(error)}") from None
    except DatabaseError as error:
        if "append-only" in str(error.orig):
            raise
        raise StateCorrupt(f"{place}: {_first_line(error)}; restore it, or import an export into a new one") from None
    except UnicodeDecodeError:  # SQLite tells of damage with words out of what is damaged
        raise StateCorrupt(f"{place}: the file is damaged; restore it, or import an export into a new one") from None
    except SQLAlchemyError as error:
        raise StateUnavailable(f"{place}: {type(error).__name__}") from None


def _file_engine(url: URL) -> Engine:
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_S}, execution_options={TURN: Lock()})

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says, not where the driver guesses
        _use_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get("is_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _use_wal(connection: Any) -> None:
    """SQLite lets nobody wait for this as it does for all else: of two who open a new file, one is refused at once."""
    ends_at = monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except SQLiteError as error:
            if "locked" not in str(error) or monotonic() > ends_at:
                raise
            sleep(AGAIN_S)
        else:
            return


def _check_file(engine: Engine, place: str) -> None:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise StateCorrupt(f"{place}: {found}; restore it, or import an export into a new one")


def _migrate(engine: Engine, place: str) -> None:
    """Bring the tables to SCHEMA in one transaction. Raises StateTooNew when they are ahead of it."""
    with writing(engine) as connection:
        found = _schema_of(connection)
        if found == SCHEMA:
            return
        if found > SCHEMA:
            raise StateTooNew(
                f"{place} was written by a later release (its tables are at {found}, this release knows {SCHEMA}); "
                "use that release, or export there and import here into a new place"
            )
        from alembic import command  # noqa: PLC0415 - takes a second, and is needed once in the life of a database
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, SCHEMA)


def _schema_of(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def _first_line(error: DatabaseError) -> str:
    return (str(error.orig).splitlines() or [type(error).__name__])[0]
