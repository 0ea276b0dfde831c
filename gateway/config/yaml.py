"""YAML in, plain values out, with the line and column of everything; no value of this parser goes further."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gateway.config.problems import ConfigRefused, Located
from strategies.core.spec import Problem

SIZE_LIMIT = 256 * 1024  # bytes: a document people can review; anything longer holds data, not configuration
NODES_LIMIT = 100_000  # aliases can make a small file very large
DEPTH_LIMIT = 64
TOO_LONG = Problem((), f"the document is longer than {SIZE_LIMIT // 1024} KiB", "split it, one route a file")


class YamlText:
    """A parsed document: `plain` holds dicts, lists and scalars, `place` finds where a path was written."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.text = text
        self._nodes = 0
        self._tree = self._parse(text)
        self.plain = self._plain(self._tree, 0)

    def place(self, path: tuple[str | int, ...]) -> tuple[int, int]:
        """Line and column, from 1, of the deepest part of `path` that was written."""
        node, line, column = self._tree, 1, 1
        for part in path:
            if isinstance(node, CommentedMap) and part in node:
                line, column = node.lc.key(part)
            elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
                line, column = node.lc.item(part)
            else:
                break
            line, column = line + 1, column + 1
            node = node[part]
        return line, column

    def located(self, problem: Problem) -> Located:
        line, column = self.place(problem.path)
        return Located(self.file, line, column, problem)

    def group(self) -> dict[str, object]:
        """The document's words; raises ConfigRefused when it is something else."""
        if not isinstance(self.plain, dict):
            what = "the document is empty" if self.plain is None else "the document is no group of named values"
            raise self.refuse(what)
        return self.plain

    def refuse(self, what: str, cure: str = "") -> ConfigRefused:
        return ConfigRefused([Located(self.file, 0, 0, Problem((), what, cure))])

    def _parse(self, text: str) -> object:
        if len(text.encode("utf-8", "surrogatepass")) > SIZE_LIMIT:
            raise ConfigRefused([Located(self.file, 0, 0, TOO_LONG)])
        try:
            return YAML(typ="rt").load(StringIO(text))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            what = " ".join(str(error.problem or error.context or error).split())
            raise ConfigRefused([Located(self.file, line, column, Problem((), f"not YAML: {what}"))]) from None
        except (YAMLError, ValueError, RecursionError) as error:
            raise self.refuse(f"not YAML: {' '.join(str(error).split())[:200]}") from None

    def _plain(self, node: object, depth: int) -> object:
        self._nodes += 1
        if self._nodes > NODES_LIMIT or depth > DEPTH_LIMIT:
            raise self.refuse("the document unfolds into too many values", "write it without aliases")
        if isinstance(node, Mapping):
            return {_scalar(key): self._plain(value, depth + 1) for key, value in node.items()}
        if isinstance(node, list):
            return [self._plain(value, depth + 1) for value in node]
        return _scalar(node)


def dump(plain: object) -> str:
    """A plain value as YAML text, mappings in their own order."""
    stream = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its stub says None
    writer.dump(plain, stream)
    return stream.getvalue()


def _scalar(value: object) -> object:
    """The built-in value under the parser's own classes, which remember how it was written."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
