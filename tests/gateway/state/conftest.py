"""A state in each kind of database: SQLite always, PostgreSQL wherever its server is installed."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.engine import URL

from gateway.state.database import database_url, open_database

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
START_S = 60


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, as its administrator."""
    if not BINARIES:
        message = "PostgreSQL's server is not installed; cure: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = Path(tempfile.mkdtemp(prefix="turnout-pg-"))
    try:
        with served(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class served:  # noqa: N801 - reads as a verb
    """A server on a socket in `folder` while the block runs. It refuses root, so root hands it to somebody else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binaries = BINARIES[-1].parent
        self._as_user: list[str] = []
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def __enter__(self) -> str:
        cluster, port = self._folder / "cluster", free_port()
        self._call("initdb", "-D", str(cluster), "-U", "turnout", "--auth=trust", "--no-sync")
        options = f"-k {self._folder} -c listen_addresses= -p {port} -c fsync=off"
        self._call(
            "pg_ctl",
            "-D",
            str(cluster),
            "-w",
            "-t",
            str(START_S),
            "-l",
            str(self._folder / "log"),
            "-o",
            options,
            "start",
        )
        return f"postgresql+psycopg://turnout@/postgres?host={self._folder}&port={port}"

    def __exit__(self, *_: object) -> None:
        self._call("pg_ctl", "-D", str(self._folder / "cluster"), "-m", "immediate", "stop")

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._binaries / program), *arguments]
        done = subprocess.run(command, cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert 0 == done.returncode, f"{command}: {done.stdout.decode()}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """Where a state of one test's own may lie; nothing is there yet."""
    if request.param == "sqlite":
        yield database_url(tmp_path)
        return
    administrator = create_engine(request.getfixturevalue("postgres"), isolation_level="AUTOCOMMIT")
    name = f"t{secrets.token_hex(6)}"
    with administrator.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(request.getfixturevalue("postgres")).set(database=name)
    finally:
        with administrator.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        administrator.dispose()


@pytest.fixture
def engine(place: URL) -> Iterator[Engine]:
    opened = open_database(place)
    yield opened
    opened.dispose()
