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

    from gateway.state.shelf import Shelf

URL_VARIABLE = "TURNOUT_STATE_URL"  # it holds a password, so it is neither an option nor in a document
DEFAULT_STATE = Path(".turnout")
StateFolder = Annotated[Path, typer.Option("--state", help=f"The state's directory; {URL_VARIABLE} beats it.")]
Author = Annotated[str, typer.Option(help="Who is asking, for the audit log.", show_default="you@this-host")]


def shelf_in(folder: Path) -> "Shelf":
    """The state in a folder, or where the variable says."""
    from gateway.state.shelf import Shelf

    return Shelf(folder, os.environ.get(URL_VARIABLE, ""))


@contextmanager
def opened_state(folder: Path) -> Iterator["Engine"]:
    """The database of the state, closed afterwards; a state that cannot be used ends the command with one line."""
    from gateway.state.errors import StateError

    shelf = shelf_in(folder)
    try:
        yield shelf.engine()
    except (StateError, OSError) as error:
        fail(str(error))
    finally:
        shelf.close()


def whoever_asks(author: str) -> str:
    """The author as given, else the user and the host of this process."""
    if author:
        return author
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's arbitrary user id has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
