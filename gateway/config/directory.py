"""A config directory: `turnout.yaml` beside `routes/*.yaml`, read whole, refused whole."""

from pathlib import Path

from msgspec import Struct

from gateway.config.asserts import assert_problems
from gateway.config.check import problems_of
from gateway.config.compile import compile_route
from gateway.config.documents import RouteDoc, SettingsDoc
from gateway.config.parse import parse_route, parse_settings, read
from gateway.config.problems import ConfigRefused, Located
from gateway.config.traffic import traffic_of
from gateway.config.yaml import YamlText
from strategies.core.spec import Problem, duration_problems

SETTINGS_FILE = "turnout.yaml"
ROUTES_FOLDER = "routes"


class Configuration(Struct, frozen=True):
    """Everything an operator wrote. `root` is where relative paths of models begin."""

    root: Path
    settings: SettingsDoc
    routes: tuple[RouteDoc, ...]


def load_directory(root: Path) -> Configuration:
    """Read, parse and check a directory; raises ConfigRefused with the problems of all its files."""
    if not root.is_dir():
        raise ConfigRefused([_about(root, "no such directory", "name a directory with routes/*.yaml in it")])
    problems: list[Located] = []
    settings = SettingsDoc()
    if (root / SETTINGS_FILE).exists():
        try:
            settings = load_settings(root / SETTINGS_FILE)
        except ConfigRefused as refused:
            problems += refused.problems
    texts: list[tuple[YamlText, RouteDoc]] = []
    files = sorted((root / ROUTES_FOLDER).glob("*.yaml"))
    for file in files:
        try:
            text = read(file)
            texts.append((text, load_route(text)))
        except ConfigRefused as refused:
            problems += refused.problems
    problems += _written_twice(texts)
    if not files:
        what, cure = "no route is written here", "add a file like routes/my-model.yaml"
        problems.append(_about(root / ROUTES_FOLDER, what, cure))
    if problems:
        raise ConfigRefused(problems)
    return Configuration(root, settings, tuple(document for _, document in texts))


def load_route(text: YamlText) -> RouteDoc:
    """One route, parsed and checked; raises ConfigRefused."""
    document = parse_route(text)
    problems = problems_of(document) or list(
        assert_problems(document, traffic_of(compile_route(document, root=text.file.parent)))
    )
    if problems:
        raise ConfigRefused(text.located(problem) for problem in problems)
    return document


def load_settings(file: Path) -> SettingsDoc:
    """The settings file, parsed and checked; raises ConfigRefused."""
    text = read(file)
    settings = parse_settings(text)
    problems = duration_problems(("drain",), settings.drain)
    if settings.connection_age is not None:
        problems += duration_problems(("connection_age",), settings.connection_age)
    if problems:
        raise ConfigRefused(text.located(problem) for problem in problems)
    return settings


def _about(path: Path, what: str, cure: str) -> Located:
    return Located(path, 0, 0, Problem((), what, cure))


def _written_twice(texts: list[tuple[YamlText, RouteDoc]]) -> list[Located]:
    first: dict[str, Path] = {}
    found = []
    for text, document in texts:
        other = first.setdefault(document.route, text.file)
        if other != text.file:
            what = f"route '{document.route}' is in {other} too"
            found.append(text.located(Problem(("route",), what, "give every route a name of its own")))
    return found
