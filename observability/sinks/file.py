"""Events in files: DIRECTORY/GATEWAY/SEQ.jsonl, a new segment per process start and per so many bytes.

A segment being written is locked (flock) by its writer; one that is not is complete, and the oldest of those are
deleted when all together grow past their limit. A write that fails half way is cut back to the last whole line.
"""

import errno
import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

MIB = 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)


class SegmentLimits(Struct, frozen=True):
    """Sizes in bytes of one segment and of a gateway's segments together. One chunk of lines may exceed the first."""

    segment_bytes: int = 64 * MIB
    total_bytes: int = 1024 * MIB


DEFAULT_LIMITS = SegmentLimits()


class SegmentFiles:
    """Keeps lines in numbered segments and deletes the gateway's oldest ones. Nothing is touched before the first line.

    Several processes may share a gateway's name: numbers are taken exclusively, and a locked segment is left alone.
    """

    def __init__(self, directory: Path, gateway: str, limits: SegmentLimits = DEFAULT_LIMITS) -> None:
        """Raises ValueError when `gateway` cannot name a directory or a segment would not fit into the total."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", gateway):
            raise ValueError(f"gateway {gateway!r} must be letters, digits, dot, dash and underscore")
        if not 0 < limits.segment_bytes <= limits.total_bytes:
            raise ValueError("segment_bytes must be above 0 and no larger than total_bytes")
        self.directory = directory / gateway
        self.trouble = ""
        self.segments_deleted_n = 0
        self._limits = limits
        self._fd = -1
        self._size = 0  # up to the last whole line
        self._is_torn = False

    def write(self, lines: bytes) -> int:
        """Append `lines`; return how many bytes of them are kept, always whole lines."""
        done = 0
        self.trouble = ""
        try:
            self._prepare(len(lines))
            view = memoryview(lines)
            while done < len(view):
                done += os.write(self._fd, view[done:])
        except OSError as error:
            self.trouble = error.strerror or str(error)
            kept = lines.rfind(b"\n", 0, done) + 1
            self._size += kept
            self._is_torn = self._is_torn or done > kept
            self._recover(error)
            return kept
        self._size += done
        return done

    def close(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                self._mend()
            os.close(self._fd)
            self._fd, self._is_torn = -1, False

    def _prepare(self, coming: int) -> None:
        """Have a segment open that is whole, still in its directory, and has room."""
        self._mend()
        is_full = self._size > 0 and self._size + coming > self._limits.segment_bytes
        if self._fd >= 0 and (is_full or os.fstat(self._fd).st_nlink == 0):  # no links: someone deleted it under us
            self.close()
        if self._fd < 0:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._delete_oldest()
            self._fd, self._size = self._open_next(), 0

    def _mend(self) -> None:
        if self._is_torn:
            os.ftruncate(self._fd, self._size)
            self._is_torn = False

    def _recover(self, error: OSError) -> None:
        """Cut the torn line off now if that can be done; leave a segment that failed for a reason of its own."""
        with suppress(OSError):
            self._mend()
        if self._fd >= 0 and self._size > 0 and not self._is_torn and error.errno not in _FULL:
            self.close()

    def _open_next(self) -> int:
        number = max((number for number, _ in self._numbered("*")), default=0)
        while True:
            number += 1
            path = self.directory / f"{number:08d}.jsonl"
            with suppress(FileExistsError):
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
                with suppress(OSError):  # a file system without locks: then only one process may use the name
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd

    def _delete_oldest(self) -> None:
        """Delete complete segments, lowest number first, until one more full segment fits into the total."""
        segments = [(path, _size_of(path)) for _, path in sorted(self._numbered("*.jsonl"))]
        surplus = sum(size for _, size in segments) + self._limits.segment_bytes - self._limits.total_bytes
        for path, size in segments:
            if surplus > 0 and _delete_if_complete(path):
                surplus -= size
                self.segments_deleted_n += 1

    def _numbered(self, pattern: str) -> list[tuple[int, Path]]:
        return [(int(path.stem), path) for path in self.directory.glob(pattern) if path.stem.isdecimal()]


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process of this gateway was faster
        return 0


def _delete_if_complete(path: Path) -> bool:
    """Delete a segment unless someone writes to it. What cannot be deleted stays, and writing goes on."""
    try:
        with path.open("rb") as segment:
            if _is_locked(segment.fileno()):
                return False
            path.unlink()
    except OSError:
        return False
    return True


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    return False
