"""The schemas that editors read say what the parser says."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from gateway.config.schema import schemas

ROOT = Path(__file__).parents[3]
SCHEMAS = ROOT / "configs" / "schemas"
DOCUMENTS = sorted(
    [*ROOT.glob("configs/*.yaml"), *ROOT.glob("configs/routes/*.yaml"), *ROOT.glob("examples/**/*.yaml")]
)


def named_schema(document: Path) -> Path:
    """The schema that a document's modeline leads an editor to."""
    line = document.read_text("utf-8").partition("\n")[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(.*)", line)
    assert named, f"{document} names no schema"
    return (document.parent / named[1]).resolve()


def errors(document: object) -> list[str]:
    schema = json.loads((SCHEMAS / "route.json").read_text("utf-8"))
    return [error.message for error in Draft202012Validator(schema).iter_errors(document)]


def test_the_files_are_what_the_parser_would_write():
    """`turnout schema` brings them up to date."""
    assert {file.name: file.read_text("utf-8") for file in SCHEMAS.glob("*.json")} == dict(schemas())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_document_keeps_to_the_schema_it_names(document):
    schema = json.loads(named_schema(document).read_text("utf-8"))
    Draft202012Validator.check_schema(schema)

    Draft202012Validator(schema).validate(YAML(typ="safe").load(document))


def test_a_mistake_is_underlined():
    arms = {"a": {"model": "file:a", "role": "baseline", "batching": "off"}}
    route = {"turnout": "v1", "route": "digits", "arms": arms, "strategy": {"kind": "baseline"}}

    assert errors(route) == []
    assert len(errors(route | {"shadows": []})) == 1
    assert len(errors(route | {"strategy": {"kind": "ab"}})) == 1
