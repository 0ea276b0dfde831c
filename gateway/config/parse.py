"""From YAML text to documents: strict, all problems at once, each with its place and its cure."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError, with_config

from gateway.config.documents import LayersDoc, RouteDoc, SettingsDoc
from gateway.config.extends import WrittenText
from gateway.config.problems import ConfigRefused, Located
from gateway.config.yaml import SIZE_LIMIT, TOO_LONG, YamlText
from strategies.core.catalogue import kinds, strategy_types
from strategies.core.spec import Problem

Document = TypeVar("Document")

_TEXTS = {
    "missing": "this is missing",
    "unexpected_keyword_argument": "unknown word",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dataclass_type": "must be a group of named values",
    "dict_type": "must be a group of named values",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def parse_route(text: WrittenText) -> RouteDoc:
    """The route that was written; raises ConfigRefused with everything that is wrong."""
    return _validate(route_adapter(), text)


def parse_settings(text: YamlText) -> SettingsDoc:
    """The settings that were written; raises ConfigRefused with everything that is wrong."""
    return _validate(settings_adapter(), text)


def parse_layers(text: YamlText) -> LayersDoc:
    """The layers that were written; raises ConfigRefused with everything that is wrong."""
    return _validate(layers_adapter(), text)


@cache
def route_adapter() -> TypeAdapter[RouteDoc]:
    """Built once, over the union of all strategies the catalogue finds; `kind` tells them apart."""
    union: Any = Annotated[Union[strategy_types()], Field(discriminator="kind")]  # noqa: UP007 - made at run time
    document = make_dataclass("Route", [("strategy", union)], bases=(RouteDoc,), frozen=True, slots=True, kw_only=True)
    return _strict_adapter(document)


@cache
def settings_adapter() -> TypeAdapter[SettingsDoc]:
    return _strict_adapter(SettingsDoc)


@cache
def layers_adapter() -> TypeAdapter[LayersDoc]:
    return _strict_adapter(LayersDoc)


def read(file: Path) -> YamlText:
    """A file's YAML; raises ConfigRefused when it cannot be read or is none."""
    return YamlText(file, read_text(file))


def read_text(file: Path) -> str:
    """A file's text; raises ConfigRefused when it cannot be read, or is too long to be a document."""
    try:
        with file.open("rb") as content:
            text = content.read(SIZE_LIMIT + 1)
        if len(text) > SIZE_LIMIT:
            raise ConfigRefused([Located(file, 0, 0, TOO_LONG)])
        return text.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigRefused([Located(file, 0, 0, Problem((), f"cannot be read: {reason}"))]) from None


def _validate(adapter: TypeAdapter[Document], text: WrittenText) -> Document:
    written = text.group()
    try:
        return adapter.validate_python(written)
    except ValidationError as error:
        problems = {_problem(detail, written): None for detail in error.errors(include_url=False)}
        raise ConfigRefused(text.located(problem) for problem in problems) from None


def _problem(detail: Mapping[str, Any], plain: object) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    path, parent = _written_path(detail["loc"], plain)
    what = _TEXTS.get(kind) or str(detail["msg"]).removeprefix("Value error, ")
    cure = ""
    if kind in ("union_tag_invalid", "literal_error", "enum"):
        known = context.get("expected_tags") or context.get("expected")
        what, cure = f"unknown value '{context.get('tag', detail.get('input'))}'", f"it can be {known}"
    elif kind == "union_tag_not_found":
        what, cure = "the kind is missing", "write kind: and one of " + ", ".join(kinds())
    elif kind == "unexpected_keyword_argument":
        cure = _nearest(str(path[-1]), parent)
    return Problem(path, what, cure)


def _written_path(loc: tuple[str | int, ...], plain: object) -> tuple[tuple[str | int, ...], object]:
    """The part of pydantic's path that an operator wrote: names of types and union members are left out."""
    path: list[str | int] = []
    node, parent = plain, plain
    for place, part in enumerate(loc):
        is_key = isinstance(node, dict) and part in node
        is_index = isinstance(node, list) and isinstance(part, int) and part < len(node)
        if is_key or is_index:
            parent, node = node, node[part]  # type: ignore[index]
            path.append(part)
        elif place == len(loc) - 1 and isinstance(node, dict) and isinstance(part, str):
            path.append(part)  # a missing word
    return tuple(path), parent


def _nearest(word: str, parent: object) -> str:
    written = parent if isinstance(parent, dict) else {}
    near = [known for known in get_close_matches(word, _known_words(), n=3) if known not in written]
    return f"did you mean '{near[0]}'?" if near else ""


@cache
def _known_words() -> tuple[str, ...]:
    classes = {found for top in (RouteDoc, SettingsDoc, LayersDoc, *strategy_types()) for found in _dataclasses(top)}
    return tuple(sorted({"in" if word.name == "values" else word.name for kind in classes for word in fields(kind)}))


def _strict_adapter(document: type) -> TypeAdapter[Any]:
    for kind in _dataclasses(document):
        with_config({"extra": "forbid"})(kind)
    return TypeAdapter(document)


def _dataclasses(kind: Any) -> set[type]:
    """A dataclass and all that its fields are made of."""
    if get_origin(kind) is not None or isinstance(kind, UnionType):
        return {found for part in get_args(kind) for found in _dataclasses(part)}
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return set()
    hints = get_type_hints(kind, include_extras=True)
    return {kind}.union(*(_dataclasses(hint) for hint in hints.values()))
