"""docs/interleaving.md is held to the strategy's words, and to every reason there is for not merging."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from gateway.execution import merging, ranking, side_by_side
from runners.core import errors
from runners.core.errors import RunnerError
from strategies.core.merge import Method, Mode, Slots
from strategies.interleave import K_LIMIT, PARTNERS_LIMIT, Interleave

PAGE = (Path(__file__).parents[2] / "docs" / "interleaving.md").read_text()
SOURCES = [Path(module.__file__).read_text() for module in (merging, ranking, side_by_side)]
WRITTEN = {
    code for text in SOURCES for code in re.findall(r'(?:NotMerged\(|not_interleaved=|outcome, |else )"(\w+)"', text)
}
KINDS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, RunnerError)]
CODES = {kind.code for kind in KINDS if kind is not RunnerError}


@pytest.mark.parametrize("word", [field.name for field in fields(Interleave) if field.name != "kind"])
def test_every_word_has_its_row(word):
    assert re.search(rf"^\| [^|]*`{word}`[^|]*\| .* \| .* \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("reason", sorted(WRITTEN | CODES))
def test_every_reason_is_explained(reason):
    """Whoever finds one in an answer finds it here."""
    assert re.search(rf"^\|[^|]*`{reason}`[^|]*\|", PAGE.partition("## When nothing is merged")[2], re.MULTILINE)


def test_the_reasons_that_the_code_gives_were_found():
    assert {"baseline", "unasked", "internal", "ties", "shape", "repeats", "too_large", "empty"} <= WRITTEN


@pytest.mark.parametrize("choice", [*Method, *Mode, *Slots])
def test_every_choice_is_named(choice):
    assert f"`{choice}`" in PAGE


def test_the_bounds_are_those_of_the_code():
    for number in (PARTNERS_LIMIT, K_LIMIT, ranking.TEXT_LIMIT):
        assert re.search(rf"\b{number}\b", PAGE)
    for number in (ranking.PLACES_LIMIT, ranking.ITEMS_LIMIT):
        assert f"{number:,}" in PAGE
