"""What model files hold: their digests, so that a file replaced under its old name is seen as the change it is."""

from hashlib import file_digest
from pathlib import Path

from gateway.config.compiled import CompiledRoute
from runners.core.runner import ModelRef

_KNOWN_N = 256


class Contents:
    """Digests of model files. A file is read again when its size, time or inode differ from when it was read last."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], str] = {}

    def digests_of(self, route: CompiledRoute) -> dict[str, str]:
        """SHA-256 of the arms' model files in hex, by arm; arms without a file that can be read here are left out.

        So is a twin, whose file is the baseline's.
        """
        found = {each.arm.name: self._digest(model_file(each.model)) for each in route.arms if not each.model.is_twin}
        return {name: digest for name, digest in found.items() if digest}

    def _digest(self, file: Path | None) -> str:
        if file is None:
            return ""
        try:
            with file.open("rb") as content:
                known = file.stat()
                key = (str(file), known.st_size, known.st_mtime_ns, known.st_ino)
                if key not in self._known:
                    while len(self._known) >= _KNOWN_N:
                        del self._known[next(iter(self._known))]
                    self._known[key] = file_digest(content, "sha256").hexdigest()
                return self._known[key]
        except OSError:  # whoever opens the model says what is wrong with it
            return ""


def model_file(model: ModelRef) -> Path | None:
    """The file behind a `file:` or `constant:` reference, None where there is none on this machine."""
    scheme, _, rest = model.reference.partition(":")
    file = model.root / rest
    return file if scheme in ("file", "constant") and file.is_file() else None
