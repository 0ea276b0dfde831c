"""The last revision as a file beside the process, so that it can start while its database is away.

Written whole under another name, synced and renamed; the one before is kept. The first line is the SHA-256 of the
second, which is the revision as JSON, and a file where it is not is no snapshot.
"""

import os
from hashlib import sha256
from pathlib import Path

import msgspec

from gateway.state.revision import Revision

FILE = "revision.json"
PREVIOUS = "revision.previous.json"


def write_snapshot(folder: Path, revision: Revision) -> None:
    """Keep `revision` in `folder`. Raises OSError; whatever happens, a whole older snapshot remains."""
    folder.mkdir(parents=True, exist_ok=True)
    file, fresh = folder / FILE, folder / f".{FILE}.{os.getpid()}"
    with fresh.open("wb") as out:
        body = msgspec.json.encode(revision)
        out.write(_digest(body) + b"\n" + body)
        out.flush()
        os.fsync(out.fileno())
    if _read(file) is not None:  # a damaged one must not push out the last that is whole
        file.replace(folder / PREVIOUS)
    fresh.replace(file)
    _sync_folder(folder)


def read_snapshot(folder: Path) -> Revision | None:
    """The newest snapshot that is what was written, None when there is none."""
    return _read(folder / FILE) or _read(folder / PREVIOUS)


def _read(file: Path) -> Revision | None:
    try:
        digest, _, body = file.read_bytes().partition(b"\n")
        return msgspec.json.decode(body, type=Revision) if digest == _digest(body) else None
    except (OSError, ValueError):
        return None


def _digest(body: bytes) -> bytes:
    return sha256(body).hexdigest().encode()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
