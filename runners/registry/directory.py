"""Models as plain files: `file:PATH`, the path relative to the configuration's root or absolute."""

from pathlib import Path

from runners.core.errors import LoadRefused, quoted
from runners.registry.artifact import Artifact


def find(path: str, root: Path) -> Artifact:
    """The file at `path`. One that is relative must stay within `root`, whatever links are on its way.

    An absolute path is taken as it is: whoever writes one means it. Raises LoadRefused.
    """
    if not path or "\0" in path:
        raise LoadRefused(f"path {quoted(path)}", "names no file", "write file:models/name.onnx")
    written = Path(path)
    try:
        found = (root / written).resolve(strict=True)
        inside = written.is_absolute() or found.is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # RuntimeError: links that lead round in a circle
        raise LoadRefused(quoted(path), "no such file", "paths are relative to the configuration's root") from None
    if not inside:
        raise LoadRefused(quoted(path), "leads out of the configuration's root", "write the absolute path if meant")
    if not found.is_file():
        raise LoadRefused(quoted(path), "is not a regular file", "name the model file itself")
    return Artifact(found)
