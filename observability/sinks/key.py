"""The key that hashes units: made once, kept in a file that only its owner can read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

KEY_BYTES = 32
LONGEST_KEY_BYTES = 64  # what BLAKE2b takes


def read_or_create_key(path: Path) -> bytes:
    """The key in `path`; a file that is not there is created whole, so that no reader ever sees half of one.

    Processes that start at the same moment end up with the same key. Raises OSError when the file can be neither read
    nor created, and ValueError when it holds no key of 32 to 64 bytes.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(path)
    key = path.read_bytes()
    if not KEY_BYTES <= len(key) <= LONGEST_KEY_BYTES:
        raise ValueError(f"{path} holds {len(key)} bytes, a key has {KEY_BYTES} to {LONGEST_KEY_BYTES}")
    return key


def replace_key(path: Path, key: bytes) -> None:
    """Have `path` hold another key; a reader sees the one or the other. Raises OSError."""
    draft = _draft(path, key)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink()
        raise


def _create(path: Path) -> None:
    draft = _draft(path, secrets.token_bytes(KEY_BYTES))
    try:
        with suppress(FileExistsError):  # another process was first: its key is the key
            os.link(draft, path)
    finally:
        draft.unlink()


def _draft(path: Path, key: bytes) -> Path:
    """A file beside `path` that holds the key, and that only its owner can read."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return draft
