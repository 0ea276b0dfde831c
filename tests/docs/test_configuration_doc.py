"""What an operator may write is what the documentation says."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from gateway.config import documents
from gateway.config.check import SCHEMES
from gateway.config.compile import compile_route
from gateway.config.directory import NO_LAYERS, load_documents, load_route
from gateway.config.yaml import YamlText
from strategies.core.catalogue import kinds, strategy_types

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")
WORDS = sorted(
    {
        "in" if word.name == "values" else word.name
        for document in (*vars(documents).values(), *strategy_types())
        if isinstance(document, type)
        and hasattr(document, "__dataclass_fields__")
        and "pydantic" not in document.__module__
        for word in fields(document)
    }
)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_documented(word):
    assert re.search(rf"`[^`]*\b{word}\b[^`]*`", PAGE), word


@pytest.mark.parametrize("kind", kinds())
def test_every_strategy_is_documented(kind):
    assert f"| `{kind}` |" in PAGE


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_kind_of_reference_is_documented(scheme):
    assert f"`{scheme}:" in PAGE


@pytest.mark.parametrize(
    "page",
    ["docs/configuration.md", "README.md", "docs/quickstart.md", "docs/assignment.md", "docs/interleaving.md"],
)
def test_every_route_in_the_documentation_compiles(page):
    """What is shown can be copied."""
    for block in re.findall(r"```yaml\n(turnout: v1\nroute:.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL):
        route = load_route(YamlText(Path(page), block))
        assert compile_route(route, root=ROOT, layers=NO_LAYERS).plans


def test_documents_that_belong_together_load_together():
    """What is shown with the name of its file can be copied into files of those names."""
    first = re.search(r"```yaml\n(turnout: v1\nroute: digits\n.*?)```", PAGE, re.DOTALL)
    named = re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", PAGE, re.DOTALL)
    assert first
    configuration = load_documents(ROOT, {"routes/digits.yaml": first[1], **dict(named)})

    assert [route.route for route in configuration.routes] == ["digits", "digits-nz", "fraud"]
    assert configuration.routes[1].strategy.candidate == "digits-mlp"
    assert list(configuration.layers.layers) == [configuration.routes[2].layer]
