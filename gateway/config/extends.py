"""The small change: a route that says only what it does otherwise than a document it extends. Pure, from texts.

Groups are merged word by word and the later document has the last word; lists and everything else are replaced, `null`
takes a word away. A group whose `kind` changes is replaced too: the words of one kind mean nothing to another.
Source: RFC 7396 (2014), JSON Merge Patch, of which the rule for `kind` is an addition.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from gateway.config.problems import ConfigRefused, Located
from gateway.config.yaml import YamlText
from strategies.core.spec import Problem

EXTENDS = "extends"
BASES_FOLDER = "bases"
CHAIN_LIMIT = 8  # documents; nobody holds more of them in mind
OWN_WORDS = ("route", EXTENDS)  # a name is nobody's but its own route's

Stack = list[tuple[YamlText, object]]  # what several documents say in one place, the last word first


class ExtendedText:
    """A document together with those it extends; reads like one `YamlText`, and knows who wrote what."""

    def __init__(self, chain: list[YamlText]) -> None:
        self.file = chain[0].file
        inherited = [(text, {k: v for k, v in text.group().items() if k not in OWN_WORDS}) for text in chain[1:]]
        self._stack: Stack = [(chain[0], chain[0].group()), *inherited]
        self.plain = _merged(self._stack)

    def located(self, problem: Problem) -> Located:
        """The problem where its word was written, which may be another document's file."""
        stack = self._stack
        for part in problem.path:
            found = _under(stack, part)
            if not found:
                break
            stack = found
        text = stack[0][0]
        return Located(text.file, *text.place(problem.path), problem, () if text.file == self.file else (self.file,))

    def group(self) -> dict[str, object]:
        return self.plain


class UnchangedText:
    """A document that was read before and found right. It is parsed again only when somebody asks for a place in it."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self._text = text

    def located(self, problem: Problem) -> Located:
        return YamlText(self.file, self._text).located(problem)

    def group(self) -> dict[str, object]:
        return YamlText(self.file, self._text).group()


WrittenText = YamlText | ExtendedText | UnchangedText


def stands_alone(text: str) -> bool:
    """Whether a document surely extends no other. One that only might is said to: a backslash may hide any word."""
    return EXTENDS not in text and "\\" not in text


def extended(root: Path, path: str, documents: Mapping[str, str]) -> WrittenText:
    """The document at `path` with all that it extends; `documents` are texts by path relative to `root`.

    Raises ConfigRefused when one of them is missing or no YAML, or when the chain ends nowhere.
    """
    chain = list(_chain(root, path, documents).values())
    return ExtendedText(chain) if len(chain) > 1 else chain[0]


def unused_bases(root: Path, documents: Mapping[str, str]) -> list[str]:
    """The documents for others to extend that no route extends, itself or through another."""
    used = {named for path in documents if not is_in(BASES_FOLDER, path) for named in _chain(root, path, documents)}
    return sorted(path for path in documents if is_in(BASES_FOLDER, path) and path not in used)


def is_in(wanted: str, path: str) -> bool:
    """Whether a document lies right in a folder."""
    folder, _, name = path.partition("/")
    return folder == wanted and "/" not in name and name.endswith(".yaml")


def _chain(root: Path, path: str, documents: Mapping[str, str]) -> dict[str, YamlText]:
    """The document and what it extends, by path, the farthest last."""
    text = YamlText(root / path, documents[path])
    chain = {path: text}
    while isinstance(text.plain, dict) and isinstance(text.plain.get(EXTENDS), str):
        named = _resolved(path, text.plain[EXTENDS])
        _refuse_chain(text, list(chain), named, documents)
        text = chain[named] = YamlText(root / named, documents[named])
        path = named
    return chain


def _resolved(path: str, written: str) -> str:
    """A bare name is a file beside the document; one with a folder begins where paths of models begin."""
    folder = path.rpartition("/")[0]
    return written if "/" in written or not folder else f"{folder}/{written}"


def _refuse_chain(text: YamlText, paths: list[str], named: str, documents: Mapping[str, str]) -> None:
    if named in paths:
        what, cure = f"this goes round in a circle: {' → '.join((*paths, named))}", "let one of them stand on its own"
    elif named not in documents:
        near = get_close_matches(named, documents, n=1)
        also = f"; did you mean '{near[0]}'?" if near else ""
        what, cure = f"there is no {named}", f"name a file beside this one, or {BASES_FOLDER}/NAME.yaml{also}"
    elif len(paths) == CHAIN_LIMIT:
        what, cure = f"more than {CHAIN_LIMIT} documents extend each other", "extend one that says more itself"
    else:
        return
    raise ConfigRefused([text.located(Problem((EXTENDS,), what, cure))])


def _merged(stack: Stack) -> dict[str, object]:
    """One group out of several. Words keep the order in which the farthest document has them: arms have places."""
    words = dict.fromkeys(word for _, node in reversed(stack) for word in _words(node))
    merged: dict[str, object] = {}
    for word in words:
        under = _under(stack, word)
        value = under[0][1]
        if isinstance(value, dict):
            merged[word] = _merged(under)
        elif value is not None:
            merged[word] = value
    return merged


def _under(stack: Stack, part: str | int) -> Stack:
    """What is said one step further down, by those who have a say: beneath what replaces, nobody has."""
    top = stack[0][1]
    if isinstance(top, list):
        return [(stack[0][0], top[part])] if isinstance(part, int) and part < len(top) else []
    said = [(text, node[part]) for text, node in stack if isinstance(node, dict) and part in node]
    if not said or not isinstance(said[0][1], dict):
        return said[:1]
    kind: object = None
    for place, (_, node) in enumerate(said):
        if not isinstance(node, dict) or (isinstance(kind, str) and node.get("kind", kind) != kind):
            return said[:place]
        kind = kind or node.get("kind")
    return said


def _words(node: object) -> list[str]:
    return list(node) if isinstance(node, dict) else []
