"""A document that did not change is not read again, and nobody can tell from what comes of it."""

from pathlib import Path
from random import Random

import pytest

from gateway.config.directory import Configuration, load_documents
from gateway.config.problems import ConfigRefused
from gateway.config.yaml import dump

ROOT = Path("conf")
NAMES = ("one", "two", "three")


def route(name: str, **words: object) -> str:
    arms = {
        "old": {"model": "file:old.onnx", "role": "baseline"},
        "new": {"model": "file:new.onnx", "role": "candidate"},
    }
    return dump({"turnout": "v1", "route": name, "arms": arms, "strategy": {"kind": "baseline"}, **words})


def path_of(name: str) -> str:
    return f"routes/{name}.yaml"


FIRST = {path_of(name): route(name) for name in NAMES}


def outcome(documents: dict[str, str], before: Configuration | None = None) -> Configuration | str:
    try:
        return load_documents(ROOT, documents, before)
    except ConfigRefused as refused:
        return str(refused)


def test_a_route_that_did_not_change_is_the_very_same():
    before = load_documents(ROOT, FIRST)
    after = load_documents(ROOT, FIRST | {path_of("two"): route("two", timeout="2s")}, before)
    same = [now is then for now, then in zip(after.routes, before.routes, strict=True)]
    assert [True, False, True] == same


def test_what_is_wrong_in_an_unchanged_document_is_still_told_with_its_place():
    """Two routes may become each other's trouble by a change of one of them."""
    before = load_documents(ROOT, FIRST)
    documents = FIRST | {path_of("two"): route("three")}
    assert outcome(documents) == outcome(documents, before)
    assert "route 'three' is in" in str(outcome(documents, before))


@pytest.mark.parametrize(
    "written",
    [
        "extends: one.yaml\nroute: two\n",
        '"\\x65xtends": one.yaml\nroute: two\n',
        "{? extends : one.yaml, route: two}\n",
    ],
    ids=["plain", "disguised", "flow"],
)
def test_a_route_that_extends_another_follows_its_changes(written):
    documents = FIRST | {path_of("two"): written}
    before = load_documents(ROOT, documents)
    changed = documents | {path_of("one"): route("one", timeout="2s")}
    assert "2s" == next(each.timeout for each in load_documents(ROOT, changed, before).routes if each.route == "two")


def test_changed_layers_are_held_against_every_route():
    member = {path_of("one"): route("one", layer="checkout", slots="0%-20%")}
    layered = FIRST | member | {"layers.yaml": "layers: {checkout: {}}\n"}
    before = load_documents(ROOT, layered)
    without = FIRST | member
    assert outcome(without) == outcome(without, before)
    assert isinstance(outcome(without, before), str)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_came_before_the_same_documents_mean_the_same(seed):
    chance = Random(seed)
    before, documents = None, dict(FIRST)
    for _ in range(6):
        name = chance.choice(NAMES)
        match chance.randrange(5):
            case 0:
                documents.pop(path_of(name), None)
            case 1:
                documents[path_of(name)] = f"extends: {chance.choice(NAMES)}.yaml\nroute: {name}\n"
            case 2:
                documents[path_of(name)] = route(chance.choice(NAMES))
            case 3:
                documents[path_of(name)] = route(name, timeout=f"{chance.randint(1, 3)}s", wrong=1)
            case _:
                documents[path_of(name)] = route(name, timeout=f"{chance.randint(1, 3)}s")
        afresh, found = outcome(documents), outcome(documents, before)
        assert afresh == found
        before = found if isinstance(found, Configuration) else before
