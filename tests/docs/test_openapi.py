"""docs/openapi.yaml is held to what the gateway answers, path by path."""

import json
import shutil
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gateway.frontends.discovery import EXTENSIONS
from gateway.frontends.status import STATUSES
from runners.core.tensor import DATATYPES
from strategies.core.plan import Reason

ROOT = Path(__file__).parents[2]
DOCUMENT = YAML(typ="safe").load(ROOT / "docs/openapi.yaml")
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (verb.upper(), path)
    for path, item in DOCUMENT["paths"].items()
    for verb in ("get", "post", "put", "delete")
    if verb in item
]
BODY = json.dumps(SCHEMAS["InferenceRequest"]["example"]).encode()
BODIES = {"/v1/feedback": b'{"token": "none", "clicks": [{"item": 1}]}'}  # a real token needs a merged list
USUAL = {"/v1/feedback": "403"}
JSON_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


@pytest.fixture(scope="module")
def ask(gateway_process, tmp_path_factory) -> Iterator:
    """Asks a gateway that serves what ships, and lets clients choose by version."""
    folder = tmp_path_factory.mktemp("openapi")
    configs = shutil.copytree(ROOT / "configs", folder / "configs")
    with (configs / "routes/digits.yaml").open("a") as route:
        route.write("pin: true\n")
    gateway = gateway_process([str(configs)], folder / "state", {})

    def send(verb: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", gateway.http, timeout=30)
        connection.request(verb, path, body)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        said = answer.status, headers, answer.read()
        connection.close()
        return said

    yield send
    gateway.stop()


@pytest.fixture(scope="module")
def version(ask) -> str:
    return json.loads(ask("GET", "/v2/models/digits")[2])["versions"][0]


@pytest.mark.parametrize(("verb", "path"), OPERATIONS)
def test_every_path_answers_as_described(ask, version, verb, path):
    """Whoever generates a client from the document can read every answer."""
    described = DOCUMENT["paths"][path][verb.lower()]["responses"]
    filled = path.format(model="digits", version=version)
    status, headers, body = ask(verb, filled, BODY if path.endswith("/infer") else BODIES.get(path, b""))
    assert USUAL.get(path, min(described)) == str(status)
    check(described[str(status)], headers, json.loads(body))


@pytest.mark.parametrize(("verb", "path"), [each for each in OPERATIONS if "{model}" in each[1]])
def test_every_path_of_a_model_that_is_not_there_is_described(ask, verb, path):
    """A misspelt name gives an error that the document knows."""
    described = DOCUMENT["paths"][path][verb.lower()]["responses"]
    status, headers, body = ask(verb, path.format(model="nobody", version="v9"), BODY if "infer" in path else b"")
    assert ("501" if "501" == min(described) else "404") == str(status)
    check(described[str(status)], headers, json.loads(body))


def test_every_status_of_an_inference_is_described():
    """No code can reach a client that the document does not name; 499 is read by nobody, 405 is about no operation."""
    described = set(DOCUMENT["paths"]["/v2/models/{model}/infer"]["post"]["responses"])
    assert {str(status.http) for status in STATUSES.values()} - {"499", "405"} == described


def test_the_words_are_those_of_the_code():
    """Datatypes and reasons in the document are the ones there are."""
    assert list(DATATYPES) == SCHEMAS["Datatype"]["enum"]
    assert [str(reason) for reason in Reason] == SCHEMAS["Reason"]["enum"]


def test_the_document_names_every_extension_as_a_path_or_parameter():
    """What the server says it speaks can be found in the document."""
    text = json.dumps(DOCUMENT)
    traces = {
        "binary_tensor_data": "binary_data_size",
        "model_configuration": "/config",
        "model_repository": "/v2/repository/index",
        "parameters": "Parameters",
        "statistics": "/stats",
    }
    assert set(EXTENSIONS) == set(traces)
    assert [] == [name for name, trace in traces.items() if trace not in text]


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"a": "x", "b": [1, "2"]}, {"a": "y"}])
def test_the_check_of_schemas_can_fail(value):
    """The small reader of schemas below is not one that finds everything fine."""
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"enum": ["x"]}, "b": {"type": "array", "items": {"type": "integer"}}},
    }
    assert faults(schema, value)
    assert [] == faults(schema, {"a": "x", "b": [1]})


def check(response: dict, headers: dict[str, str], document: object) -> None:
    response = resolved(response)
    assert "application/json" == headers["content-type"]
    required = {name for name, header in response.get("headers", {}).items() if header.get("required")}
    assert set() == required - set(headers)
    assert [] == faults(response["content"]["application/json"]["schema"], document)


def faults(schema: dict, value: object, at: str = "$") -> list[str]:
    """Where `value` is not what `schema` says, of the words of JSON Schema that the document uses for answers."""
    schema = resolved(schema)
    if "const" in schema and schema["const"] != value:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is not one of {schema['enum']}"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_of(kind, value) for kind in kinds):
        return [f"{at}: {value!r} is no {' or '.join(kinds)}"]
    found = []
    if isinstance(value, dict):
        found += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        known = schema.get("properties", {})
        found += [
            fault for name in value if name in known for fault in faults(known[name], value[name], f"{at}.{name}")
        ]
    if isinstance(value, list) and "items" in schema:
        found += [fault for i, each in enumerate(value) for fault in faults(schema["items"], each, f"{at}[{i}]")]
    return found


def is_of(kind: str, value: object) -> bool:
    return isinstance(value, JSON_TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def resolved(node: dict) -> dict:
    while "$ref" in node:
        found = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = {**found, **{name: value for name, value in node.items() if name != "$ref"}}
    return node
