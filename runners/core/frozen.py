"""Files, frozen: copied once into sealed memory, so that the bytes that were hashed are the bytes that are loaded.

A model file may be replaced or written to while it is being loaded. Hashing the path and then handing the path to a
loader would leave a gap between the two; a sealed memory file has none, and loaders that want a path still get one.
Copying, hashing and mapping all let go of the interpreter, so requests go on being served meanwhile.
"""

import fcntl
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from runners.core.errors import LoadRefused

_CHUNK_BYTES = 4 << 20
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
# Never wait for a writer of a FIFO, never become the reader of a terminal.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class FrozenFile:
    """One file's bytes, immutable until closed. `name` is the file's own name, without its directory."""

    def __init__(self, name: str, descriptor: int, size: int) -> None:
        self.name = name
        self.size = size
        self._descriptor = descriptor
        self.view: mmap.mmap | bytes = mmap.mmap(descriptor, size, prot=mmap.PROT_READ) if size else b""

    @property
    def path(self) -> str:
        """A path under which this process can open the frozen bytes, as long as this object is not closed."""
        return f"/proc/self/fd/{self._descriptor}"

    def digest(self) -> str:
        """SHA-256 of the bytes, in hex."""
        return sha256(self.view).hexdigest()

    def close(self) -> None:
        if isinstance(self.view, mmap.mmap):
            self.view.close()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def freeze(path: Path, *, limit_bytes: int) -> FrozenFile:
    """Freeze the regular file that `path` leads to, links followed. Raises LoadRefused."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        raise _unreadable(path.name, error) from None
    return _freeze_open(path.name, descriptor, limit_bytes)


def freeze_beneath(directory: Path, location: str, *, limit_bytes: int) -> FrozenFile:
    """Freeze a file that must really lie in `directory` or below, whatever links somebody has put there.

    Every step of `location` is opened from the one before and no link is followed, symbolic or hard, so there is no
    moment at which a step could be exchanged. Raises LoadRefused.
    """
    steps = PurePosixPath(location).parts
    if not steps or location.startswith("/") or ".." in steps or "\0" in location or "\\" in location:
        raise LoadRefused(repr(location), "leads out of the model's directory", "keep all of a model in one directory")
    with _descended(directory, steps[:-1], location) as descriptor:
        try:
            opened = os.open(steps[-1], _OPEN_FLAGS | os.O_NOFOLLOW, dir_fd=descriptor)
        except OSError as error:
            raise _unreadable(repr(location), error) from None
    if os.fstat(opened).st_nlink > 1:
        os.close(opened)
        raise LoadRefused(repr(location), "is hard-linked, so it may belong elsewhere", "copy it, do not link it")
    return _freeze_open(repr(location), opened, limit_bytes)


@contextmanager
def _descended(directory: Path, steps: tuple[str, ...], location: str) -> Iterator[int]:
    """An open descriptor of the directory that `steps` lead to."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
    descriptor = os.open(directory, flags)
    try:
        for step in steps:
            below = os.open(step, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    except OSError as error:
        raise _unreadable(repr(location), error) from None
    finally:
        os.close(descriptor)


def _freeze_open(name: str, descriptor: int, limit_bytes: int) -> FrozenFile:
    """Copy what `descriptor` reads into sealed memory; closes it in any case."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise LoadRefused(name, "is not a regular file", "name the model file itself")
        if status.st_size > limit_bytes:
            raise LoadRefused(name, f"has {status.st_size} bytes, above the limit of {limit_bytes}")
        frozen = os.memfd_create("turnout-frozen", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            size = _copy(descriptor, frozen, limit_bytes, name)
            fcntl.fcntl(frozen, fcntl.F_ADD_SEALS, _SEALS)
            return FrozenFile(name, frozen, size)
        except BaseException:
            os.close(frozen)
            raise
    except OSError as error:
        raise _unreadable(name, error) from None
    finally:
        os.close(descriptor)


def _copy(source: int, target: int, limit_bytes: int, name: str) -> int:
    """Copy to the end of `source`, which may still grow, and return how many bytes that were."""
    copied = 0
    while count := os.sendfile(target, source, copied, _CHUNK_BYTES):
        copied += count
        if copied > limit_bytes:
            raise LoadRefused(name, f"grew above the limit of {limit_bytes} bytes while it was read")
    return copied


def _unreadable(name: str, error: OSError) -> LoadRefused:
    match error:
        case FileNotFoundError():
            return LoadRefused(name, "no such file", "paths are relative to the configuration's root")
        case PermissionError():
            return LoadRefused(name, "may not be read by this process", "check the file's owner and mode")
        case _:
            # ELOOP and ENOTDIR are what an unfollowed symbolic link gives.
            return LoadRefused(name, f"could not be opened ({os.strerror(error.errno or 0)}); links are not followed")
