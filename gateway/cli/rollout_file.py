"""What the verbs about one canary's document share: reading it, and one clear line when it is none."""

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.loading import fail, refusals

if TYPE_CHECKING:
    from gateway.simulation.setup import Setup


def setup_in(route: Path) -> "Setup":
    """A route's document with its meaning; ends the command where it is wrong, or never moves by itself."""
    from gateway.config.directory import load_file
    from gateway.simulation.setup import NoRollout, setup_of

    try:
        with refusals():
            return setup_of(load_file(route))
    except NoRollout as error:
        fail(f"{route}: {error}")
    raise AssertionError  # refusals() does not come back
