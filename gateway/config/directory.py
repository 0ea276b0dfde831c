"""A config directory: `turnout.yaml` beside `routes/*.yaml`, read whole, refused whole."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from gateway.config.asserts import assert_problems
from gateway.config.check import problems_of
from gateway.config.comparable import comparable_problems
from gateway.config.compile import compile_route
from gateway.config.documents import LayersDoc, RouteDoc, SettingsDoc
from gateway.config.extends import (
    BASES_FOLDER,
    EXTENDS,
    UnchangedText,
    WrittenText,
    extended,
    is_in,
    stands_alone,
)
from gateway.config.layers import LAYERS_FILE, conflicts, enrolment_problems, layers_problems
from gateway.config.parse import parse_layers, parse_route, parse_settings, read, read_text
from gateway.config.problems import ConfigRefused, Located, gathered
from gateway.config.traffic import traffic_of
from gateway.config.yaml import YamlText
from strategies.core.spec import Problem, duration_problems

SETTINGS_FILE = "turnout.yaml"
ROUTES_FOLDER = "routes"
NO_LAYERS = LayersDoc()


class Configuration(Struct, frozen=True):
    """Everything an operator wrote.

    `root` is where relative paths of models begin; `documents` maps a path relative to it to the text as written.
    """

    root: Path
    settings: SettingsDoc
    routes: tuple[RouteDoc, ...]
    documents: Mapping[str, str] = {}
    layers: LayersDoc = NO_LAYERS


def load_directory(root: Path) -> Configuration:
    """Read, parse and check a directory; raises ConfigRefused with the problems of all its files."""
    return load_documents(root, read_directory(root))


def read_directory(root: Path) -> dict[str, str]:
    """The texts of a directory by relative path; raises ConfigRefused for what cannot be read or is too long."""
    if not root.is_dir():
        raise ConfigRefused([_about(root, "no such directory", "name a directory with routes/*.yaml in it")])
    alone = [root / name for name in (SETTINGS_FILE, LAYERS_FILE) if (root / name).exists()]
    texts, problems = {}, list[Located]()
    routes, bases = (sorted((root / folder).glob("*.yaml")) for folder in (ROUTES_FOLDER, BASES_FOLDER))
    for file in (*alone, *routes, *bases):
        try:
            texts[file.relative_to(root).as_posix()] = read_text(file)
        except ConfigRefused as refused:
            problems += refused.problems
    if problems:
        raise ConfigRefused(problems)
    return texts


def load_documents(root: Path, documents: Mapping[str, str], before: Configuration | None = None) -> Configuration:
    """Parse and check texts by relative path, wherever they came from; raises ConfigRefused with all problems.

    Routes that are the same as in the configuration `before` are taken from it.
    """
    problems = _unread(root, documents)
    settings, layers = SettingsDoc(), None
    with _noting(problems):
        if SETTINGS_FILE in documents:
            settings = load_settings(YamlText(root / SETTINGS_FILE, documents[SETTINGS_FILE]))
    with _noting(problems):
        layers = _layers_of(root, documents)
    known = _unchanged(root, documents, before) if before else {}
    texts: list[tuple[WrittenText, RouteDoc]] = []
    for path, content in documents.items():
        with _noting(problems):
            if path in known:
                texts.append((UnchangedText(root / path, content), known[path]))
            elif is_in(ROUTES_FOLDER, path):
                text = extended(root, path, documents)
                texts.append((text, load_route(text, layers)))
            elif is_in(BASES_FOLDER, path):
                YamlText(root / path, content).group()  # what it says is checked with the words of those who extend it
    problems += _written_twice(texts)
    problems += conflicts(texts) if layers else ()
    if problems or layers is None:
        raise ConfigRefused(gathered(problems))
    return Configuration(root, settings, tuple(document for _, document in texts), dict(documents), layers)


def settings_alone(root: Path) -> SettingsDoc:
    """The settings of a directory whose routes may be wrong, or the defaults where they are wrong themselves."""
    try:
        return load_settings(read(root / SETTINGS_FILE))
    except ConfigRefused:
        return SettingsDoc()


def place_of(written: YamlText, documents: Mapping[str, str]) -> str:
    """Where among `documents` a file that was written elsewhere belongs: a route in the place of the one of its name.

    Raises ConfigRefused for a route that is wrong in itself; one that extends another cannot be judged alone.
    """
    file, words = written.file, written.group()
    if file.name in (SETTINGS_FILE, LAYERS_FILE):
        return file.name
    if file.parent.name == BASES_FOLDER:
        return f"{BASES_FOLDER}/{file.name}"
    if EXTENDS not in words:
        load_route(written, None)
    routes = (path for path in documents if is_in(ROUTES_FOLDER, path))
    named = (path for path in routes if "route" in words and _name_of(path, documents) == words["route"])
    return next(named, f"{ROUTES_FOLDER}/{file.name}")


def place_of_route(configuration: Configuration, route: str) -> str:
    """The path among a configuration's documents of the one that writes a route."""
    documents = configuration.documents
    return next(path for path in documents if is_in(ROUTES_FOLDER, path) and _name_of(path, documents) == route)


def load_file(file: Path) -> Configuration:
    """One route alone, with what it needs of the directory that it lies in; raises ConfigRefused."""
    text = read_text(file)
    if file.parent.name == ROUTES_FOLDER:
        root, path = file.parent.parent, f"{ROUTES_FOLDER}/{file.name}"
        documents = read_directory(root) | {path: text}
    else:
        root, path = file.parent, file.name
        documents = {path: text}
    layers = _layers_of(root, documents)
    route = load_route(extended(root, path, documents), layers)
    return Configuration(root, SettingsDoc(), (route,), documents, layers)


def load_route(text: WrittenText, layers: LayersDoc | None = NO_LAYERS) -> RouteDoc:
    """One route, parsed and checked; raises ConfigRefused. What it does to others is not looked at.

    Without `layers`, for they are wrong themselves, nothing is held against them.
    """
    document = parse_route(text)
    problems = problems_of(document)
    if layers is not None:
        problems = [*problems, *enrolment_problems(document, layers)]
        if not problems:
            traffic = traffic_of(compile_route(document, root=text.file.parent, layers=layers))
            problems = [*assert_problems(document, traffic), *comparable_problems(document, traffic)]
    if problems:
        raise ConfigRefused(text.located(problem) for problem in problems)
    return document


def load_settings(text: YamlText) -> SettingsDoc:
    """The settings, parsed and checked; raises ConfigRefused."""
    settings = parse_settings(text)
    problems = duration_problems(("drain",), settings.drain)
    for place, receiver in enumerate(settings.notify):
        if (receiver.secret_file is None) == (receiver.secret_env is None):
            cure = "write secret_file: or secret_env:, one of them, and where the secret is"
            problems.append(Problem(("notify", place), "it needs one secret to sign with", cure))
    if settings.connection_age is not None:
        problems += duration_problems(("connection_age",), settings.connection_age)
    if problems:
        raise ConfigRefused(text.located(problem) for problem in problems)
    return settings


@contextmanager
def _noting(problems: list[Located]) -> Iterator[None]:
    """Go on where a document is refused, so that everything is told at once."""
    try:
        yield
    except ConfigRefused as refused:
        problems += refused.problems


def _unchanged(root: Path, documents: Mapping[str, str], before: Configuration) -> dict[str, RouteDoc]:
    """The routes of `before`, by path, that would be read the same again: texts are, and all that they lean on."""
    if before.root != root or before.documents.get(LAYERS_FILE) != documents.get(LAYERS_FILE):
        return {}
    paths = (path for path in before.documents if is_in(ROUTES_FOLDER, path))
    return {
        path: document
        for path, document in zip(paths, before.routes, strict=True)
        if documents.get(path) == before.documents[path] and stands_alone(documents[path])
    }


def _unread(root: Path, documents: Mapping[str, str]) -> list[Located]:
    """Files that are none of ours, and the lack of any route."""
    cure = f"name it {ROUTES_FOLDER}/NAME.yaml, or {BASES_FOLDER}/NAME.yaml for others to extend"
    found = [
        _about(root / path, "nobody reads this file", cure)
        for path in documents
        if path not in (SETTINGS_FILE, LAYERS_FILE) and not is_in(ROUTES_FOLDER, path) and not is_in(BASES_FOLDER, path)
    ]
    if not any(is_in(ROUTES_FOLDER, path) for path in documents):
        what, cure = "no route is written here", "add a file like routes/my-model.yaml"
        found.append(_about(root / ROUTES_FOLDER, what, cure))
    return found


def _layers_of(root: Path, documents: Mapping[str, str]) -> LayersDoc:
    if LAYERS_FILE not in documents:
        return NO_LAYERS
    text = YamlText(root / LAYERS_FILE, documents[LAYERS_FILE])
    layers = parse_layers(text)
    problems = layers_problems(layers)
    if problems:
        raise ConfigRefused(text.located(problem) for problem in problems)
    return layers


def _name_of(path: str, documents: Mapping[str, str]) -> object:
    return YamlText(Path(path), documents[path]).group().get("route")


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
