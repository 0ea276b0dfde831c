"""A config directory: `turnout.yaml` beside `routes/*.yaml`, read whole, refused whole."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from gateway.config.asserts import assert_problems
from gateway.config.check import problems_of
from gateway.config.compile import compile_route
from gateway.config.documents import RouteDoc, SettingsDoc
from gateway.config.extends import BASES_FOLDER, WrittenText, extended, is_in
from gateway.config.parse import parse_route, parse_settings, read, read_text
from gateway.config.problems import ConfigRefused, Located, gathered
from gateway.config.traffic import traffic_of
from gateway.config.yaml import YamlText
from strategies.core.spec import Problem, duration_problems

SETTINGS_FILE = "turnout.yaml"
ROUTES_FOLDER = "routes"


class Configuration(Struct, frozen=True):
    """Everything an operator wrote.

    `root` is where relative paths of models begin; `documents` maps a path relative to it to the text as written.
    """

    root: Path
    settings: SettingsDoc
    routes: tuple[RouteDoc, ...]
    documents: Mapping[str, str] = {}


def load_directory(root: Path) -> Configuration:
    """Read, parse and check a directory; raises ConfigRefused with the problems of all its files."""
    return load_documents(root, read_directory(root))


def read_directory(root: Path) -> dict[str, str]:
    """The texts of a directory by relative path; raises ConfigRefused for what cannot be read or is too long."""
    if not root.is_dir():
        raise ConfigRefused([_about(root, "no such directory", "name a directory with routes/*.yaml in it")])
    settings = [root / SETTINGS_FILE] if (root / SETTINGS_FILE).exists() else []
    texts, problems = {}, list[Located]()
    routes, bases = (sorted((root / folder).glob("*.yaml")) for folder in (ROUTES_FOLDER, BASES_FOLDER))
    for file in (*settings, *routes, *bases):
        try:
            texts[file.relative_to(root).as_posix()] = read_text(file)
        except ConfigRefused as refused:
            problems += refused.problems
    if problems:
        raise ConfigRefused(problems)
    return texts


def load_documents(root: Path, documents: Mapping[str, str]) -> Configuration:
    """Parse and check texts by relative path, wherever they came from; raises ConfigRefused with all problems."""
    problems: list[Located] = []
    settings = SettingsDoc()
    texts: list[tuple[WrittenText, RouteDoc]] = []
    for path, content in documents.items():
        try:
            if path == SETTINGS_FILE:
                settings = load_settings(YamlText(root / path, content))
            elif is_in(ROUTES_FOLDER, path):
                text = extended(root, path, documents)
                texts.append((text, load_route(text)))
            elif is_in(BASES_FOLDER, path):
                YamlText(root / path, content).group()  # what it says is checked with the words of those who extend it
            else:
                cure = f"name it {ROUTES_FOLDER}/NAME.yaml, or {BASES_FOLDER}/NAME.yaml for others to extend"
                problems.append(_about(root / path, "nobody reads this file", cure))
        except ConfigRefused as refused:
            problems += refused.problems
    problems += _written_twice(texts)
    if not any(is_in(ROUTES_FOLDER, path) for path in documents):
        what, cure = "no route is written here", "add a file like routes/my-model.yaml"
        problems.append(_about(root / ROUTES_FOLDER, what, cure))
    if problems:
        raise ConfigRefused(gathered(problems))
    return Configuration(root, settings, tuple(document for _, document in texts), dict(documents))


def settings_alone(root: Path) -> SettingsDoc:
    """The settings of a directory whose routes may be wrong, or the defaults where they are wrong themselves."""
    try:
        return load_settings(read(root / SETTINGS_FILE))
    except ConfigRefused:
        return SettingsDoc()


def load_file(file: Path) -> Configuration:
    """One route alone, with what it needs of the directory that it lies in; raises ConfigRefused."""
    text = read_text(file)
    if file.parent.name == ROUTES_FOLDER:
        root, path = file.parent.parent, f"{ROUTES_FOLDER}/{file.name}"
        documents = read_directory(root) | {path: text}
    else:
        root, path = file.parent, file.name
        documents = {path: text}
    return Configuration(root, SettingsDoc(), (load_route(extended(root, path, documents)),), documents)


def load_route(text: WrittenText) -> RouteDoc:
    """One route, parsed and checked; raises ConfigRefused."""
    document = parse_route(text)
    problems = problems_of(document) or list(
        assert_problems(document, traffic_of(compile_route(document, root=text.file.parent)))
    )
    if problems:
        raise ConfigRefused(text.located(problem) for problem in problems)
    return document


def load_settings(text: YamlText) -> SettingsDoc:
    """The settings, parsed and checked; raises ConfigRefused."""
    settings = parse_settings(text)
    problems = duration_problems(("drain",), settings.drain)
    if settings.connection_age is not None:
        problems += duration_problems(("connection_age",), settings.connection_age)
    if problems:
        raise ConfigRefused(text.located(problem) for problem in problems)
    return settings


def _about(path: Path, what: str, cure: str) -> Located:
    return Located(path, 0, 0, Problem((), what, cure))


def _written_twice(texts: list[tuple[WrittenText, RouteDoc]]) -> list[Located]:
    first: dict[str, Path] = {}
    found = []
    for text, document in texts:
        other = first.setdefault(document.route, text.file)
        if other != text.file:
            what = f"route '{document.route}' is in {other} too"
            found.append(text.located(Problem(("route",), what, "give every route a name of its own")))
    return found
