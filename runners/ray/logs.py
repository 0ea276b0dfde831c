"""The last lines of what replicas have said: those that live, and those that have ended on nodes that are still there.

Ray Serve has each replica write a file on its node, and what goes to standard error with it. Ray's own way to read them
takes its dashboard, which nobody need run; so a task on every node reads them there.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from msgspec import Struct

FILES_N = 16  # of one application on one node, the latest written to
FILE_BYTES = 64 << 10  # of the end of a file
TASK_LIMIT_S = 10.0  # a node that does not answer holds up nobody longer
ODD = re.compile(r"\W")


class LogsAway(Exception):
    """What replicas have said cannot be read now; the text says why."""


class LogTail(Struct, frozen=True):
    """The end of one replica's log."""

    replica: str
    node: str
    lines: tuple[str, ...]


class Reading:
    """Tasks under way on all nodes. Asked again and again until it has come to something."""

    def __init__(self, application: str, lines_n: int) -> None:
        import ray  # noqa: PLC0415 - a gateway's other processes import this module, too
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

        read = ray.remote(_tails_here)
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        self._pending: list[Any] = [
            read.options(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            ).remote(application, lines_n)
            for node in nodes
        ]
        self._found: list[LogTail] = []
        self._troubles: list[str] = []
        self._until = monotonic() + TASK_LIMIT_S

    def result(self) -> tuple[tuple[LogTail, ...], str] | None:
        """What was read, and what could not be; None while it is not known."""
        import ray  # noqa: PLC0415

        done, self._pending = ray.wait(self._pending, num_returns=len(self._pending), timeout=0.0)
        for each in done:
            try:
                self._found += ray.get(each)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other nodes' are told
                self._troubles.append(f"a node's could not be read: {type(error).__name__}")
        if self._pending and monotonic() < self._until:
            return None
        if self._pending:
            self._troubles.append(f"{len(self._pending)} nodes have not answered within {TASK_LIMIT_S:g} s")
        return tuple(self._found), "; ".join(self._troubles)


def read_tails(folder: Path, application: str, lines_n: int, node: str) -> list[LogTail]:
    """What Serve's folder of logs has of an application, the file written to last at the end."""
    start, found = f"replica_{ODD.sub('_', application)}_", []
    for file in folder.glob("replica_*.log"):
        name = ODD.sub("_", file.stem)
        if name.startswith(start):
            found.append((file.stat().st_mtime, file))
    tails = []
    for _, file in sorted(found)[-FILES_N:]:
        replica = file.stem.rpartition("_")[2]
        tails.append(LogTail(replica, node, tuple(_last_lines(file, lines_n))))
    return tails


def _last_lines(file: Path, lines_n: int) -> Sequence[str]:
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - FILE_BYTES))
        lines = opened.read(FILE_BYTES).decode("utf-8", "replace").splitlines()
    if size > FILE_BYTES:
        lines = lines[1:]  # it was cut
    return lines[-lines_n:]


def _tails_here(application: str, lines_n: int) -> list[LogTail]:
    """Run by Ray on a node."""
    import ray  # noqa: PLC0415

    context = ray.get_runtime_context()
    folder = Path(context.get_temp_dir()) / context.get_session_name() / "logs" / "serve"
    node: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return read_tails(folder, application, lines_n, node)
