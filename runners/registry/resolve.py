"""From a reference to a file: `file:PATH`, `constant:PATH`, `bento:NAME:VERSION`."""

from pathlib import Path

from runners.core.errors import LoadRefused, quoted
from runners.registry import bento, directory
from runners.registry.artifact import Artifact

SCHEMES = ("file", "constant", "bento")


def resolve(reference: str, root: Path) -> Artifact:
    """The file behind `reference`. Blocks on the disk, and for seconds on a first `bento:`. Raises LoadRefused."""
    scheme, colon, rest = reference.partition(":")
    match scheme if colon else "":
        case "file" | "constant":
            return directory.find(rest, root)
        case "bento":
            return bento.find(rest)
        case _:
            known = ", ".join(f"{scheme}:" for scheme in SCHEMES)
            raise LoadRefused(f"model {quoted(reference)}", "is not a reference", f"begin it with one of {known}")
