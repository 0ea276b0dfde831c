"""Events on standard output, for whoever collects what a container prints (`--events -`)."""

import os
import select
import sys


class StandardOutput:
    """Writes whole lines to a file descriptor, by default the process's standard output, and never closes it."""

    segments_deleted_n = 0

    def __init__(self, fd: int | None = None) -> None:
        self._fd = sys.stdout.fileno() if fd is None else fd
        self.trouble = ""

    def write(self, lines: bytes) -> int:
        """Write all of `lines`, waiting for a slow reader; fewer bytes when the reader has gone."""
        view = memoryview(lines)
        done = 0
        self.trouble = ""
        try:
            while done < len(view):
                done += self._write_some(view[done:])
        except OSError as error:  # a pipe without a reader: nobody is left to see the torn line
            self.trouble = error.strerror or str(error)
        return lines.rfind(b"\n", 0, done) + 1

    def close(self) -> None:
        """Leave the descriptor open: it is the process's, not ours."""

    def _write_some(self, view: memoryview) -> int:
        try:
            return os.write(self._fd, view)
        except BlockingIOError:  # somebody made the descriptor non-blocking; wait for room instead of spinning
            select.select([], [self._fd], [])
            return 0
