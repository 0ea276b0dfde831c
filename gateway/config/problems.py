"""Problems with their place: file, line and column, so that an editor can jump there."""

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from strategies.core.spec import Problem


class Located(Struct, frozen=True):
    """A problem where an operator can find it. Lines and columns count from 1; 0 is the file as a whole.

    `seen_from` are documents that take the word from this file, where the problem is theirs.
    """

    file: Path
    line: int
    column: int
    problem: Problem
    seen_from: tuple[Path, ...] = ()

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        cure = f"\n    {self.problem.cure}" if self.problem.cure else ""
        extend = "extends" if len(self.seen_from) == 1 else "extend"
        heirs = f" (as {', '.join(map(str, self.seen_from))} {extend} it)" if self.seen_from else ""
        return f"{place}{dotted(self.problem.path)}{self.problem.what}{heirs}{cure}"


class ConfigRefused(Exception):
    """A configuration that cannot be used, with all that is wrong with it."""

    def __init__(self, problems: Iterable[Located]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def gathered(problems: Iterable[Located]) -> list[Located]:
    """Every problem once: what several documents have from one base is one mistake."""
    found: dict[tuple[Path, int, int, Problem], Located] = {}
    for each in problems:
        key = (each.file, each.line, each.column, each.problem)
        seen_from = found[key].seen_from if key in found else ()
        found[key] = replace(each, seen_from=tuple(dict.fromkeys((*seen_from, *each.seen_from))))
    return list(found.values())


def dotted(path: tuple[str | int, ...]) -> str:
    """A path as people write it: strategy.ramp[1].share."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{text}: " if text else ""
