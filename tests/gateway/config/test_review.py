"""What is stale though correct."""

from datetime import date
from pathlib import Path, PurePath

import pytest

from gateway.config.directory import Configuration, load_documents, load_route
from gateway.config.documents import SettingsDoc
from gateway.config.review import review
from gateway.config.yaml import YamlText, dump

TODAY = date(2026, 11, 25)
CLEAN = {
    "turnout": "v1",
    "route": "digits",
    "owner": "risk",
    "hypothesis": "the network errs less",
    "expires": "2027-01-31",
    "attributes": {"country": {"header": "x-country"}},
    "arms": {
        "old": {"model": "file:models/old.onnx", "role": "baseline", "golden": "models/golden.json"},
        "new": {"model": "file:models/new.onnx", "role": "candidate"},
    },
    "strategy": {"kind": "ab", "shares": {"new": "5%"}},
}
MODELS = [PurePath("models") / name for name in ("old.onnx", "new.onnx", "golden.json")]
RESERVE = {"dumb": {"model": "constant:models/golden.json", "role": "reserve"}}


def found(models: list[PurePath] = MODELS, **changes: object) -> list[str]:
    written = {word: value for word, value in (CLEAN | changes).items() if value is not None}
    document = load_route(YamlText(Path("digits.yaml"), dump(written)))
    configuration = Configuration(Path("/nowhere"), SettingsDoc(), (document,))
    return [finding.what for finding in review(configuration, models, today=TODAY)]


def test_nothing_is_said_of_what_is_in_order():
    assert found() == []


def test_a_base_that_nobody_extends_is_cleared_up():
    documents = {"routes/digits.yaml": dump(CLEAN), "bases/old.yaml": "owner: somebody\n"}
    configuration = load_documents(Path("/nowhere"), documents)

    assert [finding.what for finding in review(configuration, MODELS, today=TODAY)] == [
        "no route extends bases/old.yaml"
    ]


def test_a_route_that_tries_nothing_needs_no_end():
    only_old = {"old": CLEAN["arms"]["old"]}

    assert found(MODELS[::2], arms=only_old, strategy={"kind": "baseline"}, hypothesis=None, expires=None) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"owner": None}, "nobody owns it"),
        ({"hypothesis": None}, "its experiment has no hypothesis"),
        ({"expires": None}, "its experiment has no end"),
        ({"expires": "2026-11-25"}, "its experiment expired on 2026-11-25"),
        ({"arms": CLEAN["arms"] | RESERVE}, "arm dumb gets no request"),
        ({"models": [*MODELS, PurePath("models/lost.onnx")]}, "no arm names models/lost.onnx"),
        (
            {"audience": [{"attribute": "country", "in": ["de"]}, {"attribute": "country", "in": ["fr"]}]},
            "no country keeps to all rules of its audience",
        ),
        (
            {"audience": [{"attribute": "country", "in": ["de"]}, {"attribute": "country", "in": ["de", "fr"]}]},
            "a rule for country leaves nobody out that another does not",
        ),
        (
            {
                "audience": [{"attribute": "country", "in": ["de"]}],
                "strategy": {"kind": "baseline"},
                "shadow": [{"candidate": "new"}],
            },
            "its audience changes nothing: everybody gets the baseline",
        ),
    ],
)
def test_what_is_stale_is_told(changes, what):
    assert found(**changes) == [what]
