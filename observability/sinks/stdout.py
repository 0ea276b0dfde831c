"""Events on standard output, for whoever collects what a container prints (`--events -`)."""

import fcntl
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StandardOutput:
    """Writes whole lines to a file descriptor, by default the process's standard output, and never closes it."""

    segments_deleted_n = 0

    def __init__(self, fd: int | None = None, turn: Path | None = None) -> None:
        """With `turn`, a file, processes that write to one pipe take turns, so that no line has another's inside."""
        self._fd = sys.stdout.fileno() if fd is None else fd
        self._turn = os.open(turn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if turn else -1
        self.trouble = ""

    def write(self, lines: bytes) -> int:
        """Write all of `lines`, waiting for a slow reader; fewer bytes when the reader has gone."""
        view = memoryview(lines)
        done = 0
        self.trouble = ""
        try:
            with self._in_turn():
                while done < len(view):
                    done += self._write_some(view[done:])
        except OSError as error:  # a pipe without a reader: nobody is left to see the torn line
            self.trouble = error.strerror or str(error)
        return lines.rfind(b"\n", 0, done) + 1

    def close(self) -> None:
        """Leave the descriptor of the output open: it is the process's, not ours."""
        if self._turn >= 0:
            os.close(self._turn)
            self._turn = -1

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if self._turn < 0:
            yield
            return
        fcntl.flock(self._turn, fcntl.LOCK_EX)  # the kernel lets go of it when a process dies
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _write_some(self, view: memoryview) -> int:
        try:
            return os.write(self._fd, view)
        except BlockingIOError:  # somebody made the descriptor non-blocking; wait for room instead of spinning
            select.select([], [self._fd], [])
            return 0
