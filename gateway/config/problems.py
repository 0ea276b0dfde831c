"""Problems with their place: file, line and column, so that an editor can jump there."""

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from strategies.core.spec import Problem


class Located(Struct, frozen=True):
    """A problem where an operator can find it. Lines and columns count from 1; 0 is the file as a whole."""

    file: Path
    line: int
    column: int
    problem: Problem

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        cure = f"\n    {self.problem.cure}" if self.problem.cure else ""
        return f"{place}{dotted(self.problem.path)}{self.problem.what}{cure}"


class ConfigRefused(Exception):
    """A configuration that cannot be used, with all that is wrong with it."""

    def __init__(self, problems: Iterable[Located]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: tuple[str | int, ...]) -> str:
    """A path as people write it: strategy.ramp[1].share."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{text}: " if text else ""
