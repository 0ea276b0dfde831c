"""What the verbs about kept state share: where it lies, who is asking, and one clear line when it cannot be used."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.loading import fail

if TYPE_CHECKING:
    from sqlalchemy import Engine

URL_VARIABLE = "TURNOUT_STATE_URL"  # it holds a password, so it is neither an option nor in a document
StateFolder = Annotated[Path, typer.Option("--state", help=f"The state's directory; {URL_VARIABLE} beats it.")]
Author = Annotated[str, typer.Option(help="Who is asking, for the audit log.", show_default="you@this-host")]


@contextmanager
def opened_state(folder: Path) -> Iterator["Engine"]:
    """The database of the state, closed afterwards; a state that cannot be used ends the command with one line."""
    from gateway.state.database import database_url, open_database
    from gateway.state.errors import StateError

    try:
        engine = open_database(database_url(folder, os.environ.get(URL_VARIABLE, "")))
        try:
            yield engine
        finally:
            engine.dispose()
    except (StateError, OSError) as error:
        fail(str(error))


def whoever_asks(author: str) -> str:
    """The author as given, else the user and the host of this process."""
    if author:
        return author
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's arbitrary user id has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
