"""The shelf: everything that is kept, opened when it is first wanted and again when it was away."""

import logging
from pathlib import Path
from threading import Lock

from sqlalchemy import Engine

from gateway.state.audit import AuditLog
from gateway.state.bookings import Bookings
from gateway.state.clicks import Clicks
from gateway.state.database import FILE as STATE_FILE
from gateway.state.database import database_url, open_database
from gateway.state.lease import Leases
from gateway.state.ledger import Ledger
from gateway.state.members import Members
from gateway.state.revision import Revision
from gateway.state.snapshot import FILE, PREVIOUS, read_snapshot, write_snapshot
from gateway.state.store import RevisionStore
from gateway.state.tokens import Tokens
from gateway.state.told import Told

LOG = logging.getLogger("turnout.state")


class Shelf:
    """Each method opens the database if it is not open yet, which may raise StateError. Usable from any thread."""

    def __init__(self, folder: Path, url: str = "") -> None:
        """`folder` holds SQLite's file, unless `url` names a PostgreSQL, and the snapshot in any case."""
        self._folder = folder
        self._url = url
        self._engine: Engine | None = None
        self._lock = Lock()

    def store(self) -> RevisionStore:
        return RevisionStore(self.engine())

    def audit(self) -> AuditLog:
        return AuditLog(self.engine())

    def members(self) -> Members:
        return Members(self.engine())

    def tokens(self) -> Tokens:
        return Tokens(self.engine())

    def clicks(self) -> Clicks:
        return Clicks(self.engine())

    def bookings(self) -> Bookings:
        return Bookings(self.engine())

    def ledger(self) -> Ledger:
        return Ledger(self.engine())

    def leases(self) -> Leases:
        return Leases(self.engine())

    def told(self) -> Told:
        return Told(self.engine())

    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = open_database(database_url(self._folder, self._url))
            return self._engine

    def remember(self, revision: Revision) -> None:
        """Keep a snapshot. One that cannot be written is a pity, and no more: the store has the revision."""
        try:
            write_snapshot(self._folder, revision)
        except OSError as error:
            LOG.warning("the snapshot of revision %d could not be written: %s", revision.number, error)

    def remembered(self) -> Revision | None:
        """The revision of the snapshot, None when there is none that is whole."""
        return read_snapshot(self._folder)

    @property
    def exists(self) -> bool:
        """Whether there is anything to look at, as far as can be told without making it."""
        return bool(self._url) or (self._folder / STATE_FILE).exists()

    @property
    def is_here(self) -> bool:
        """Whether the state is a file beside the snapshot, so that neither can be of another gateway."""
        return not self._url

    @property
    def snapshot_files(self) -> str:
        """Where the snapshots lie, fit to be shown."""
        return f"{self._folder / FILE} and {PREVIOUS}"

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None
