"""JSON Schemas of the documents, for editors: they complete words and underline mistakes while one types."""

import json
from collections.abc import Mapping
from typing import Any

from gateway.config.parse import route_adapter, settings_adapter

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> Mapping[str, str]:
    """The text of every schema by the name of its file."""
    return {
        "route.json": _text(route_adapter().json_schema()),
        "settings.json": _text(settings_adapter().json_schema()),
    }


def _text(schema: dict[str, Any]) -> str:
    return json.dumps({"$schema": DIALECT, **schema}, indent=1) + "\n"
