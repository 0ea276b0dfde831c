"""What every registry gives back."""

from pathlib import Path

from msgspec import Struct


class Artifact(Struct, frozen=True):
    """A file that a reference stands for. `version` and `digest` are what the registry says of it, "" if nothing."""

    path: Path
    version: str = ""
    digest: str = ""
