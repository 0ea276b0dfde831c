"""JSON Schemas of the documents, for editors: they complete words and underline mistakes while one types."""

import json
from collections.abc import Mapping
from typing import Any

from gateway.config.parse import layers_adapter, route_adapter, settings_adapter

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> Mapping[str, str]:
    """The text of every schema by the name of its file."""
    return {
        "route.json": _text(route_adapter().json_schema()),
        "part.json": _text({**_part(route_adapter().json_schema()), "title": "Part of a route"}),
        "layers.json": _text(layers_adapter().json_schema()),
        "settings.json": _text(settings_adapter().json_schema()),
    }


def _part(schema: Any) -> Any:
    """The schema of a document that others complete: it need not say everything, and `null` takes a word away."""
    if not isinstance(schema, dict):
        return [_part(each) for each in schema] if isinstance(schema, list) else schema
    part = {word: value for word, value in schema.items() if word not in ("required", "minProperties", "discriminator")}
    if "oneOf" in part:
        part["anyOf"] = part.pop("oneOf")  # told apart by words that may be missing here
    for word, value in part.items():
        if word in ("properties", "patternProperties"):
            part[word] = {name: {"anyOf": [_part(each), {"type": "null"}]} for name, each in value.items()}
        elif word == "additionalProperties" and isinstance(value, dict):
            part[word] = {"anyOf": [_part(value), {"type": "null"}]}
        elif word not in ("default", "enum", "const"):
            part[word] = _part(value)
    return part


def _text(schema: dict[str, Any]) -> str:
    return json.dumps({"$schema": DIALECT, **schema}, indent=1) + "\n"
