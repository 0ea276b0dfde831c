"""Facts that an operator wants kept."""

from pathlib import Path

import pytest

from gateway.config.directory import load_route
from gateway.config.problems import ConfigRefused
from gateway.config.yaml import YamlText

ROUTE = """\
turnout: v1
route: digits
owner: risk
arms:
  old: {model: "file:old.onnx", role: baseline}
  new: {model: "file:new.onnx", role: candidate}
  idle: {model: "file:idle.onnx", role: candidate}
strategy: {kind: ab, shares: {new: 5%}}
shadow: [{candidate: new, share: 50%}]
asserts:
  - """


def load(sentence: str) -> None:
    load_route(YamlText(Path("digits.yaml"), ROUTE + sentence + "\n"))


@pytest.mark.parametrize(
    "sentence",
    [
        "share of new <= 5%",
        "share of  new = 0.05",
        "share of idle = 0%",
        "share of old > 90%",
        "calls <= 1.475x",
        "fallback ends in old",
        "arm new is reached",
        "owner is set",
    ],
)
def test_what_holds_is_passed_over(sentence):
    load(sentence)


@pytest.mark.parametrize(
    ("sentence", "instead"),
    [
        ("share of new < 5%", "'share of new < 5%' does not hold: it has 5%"),
        ("share of old <= 50%", "it has 95%"),
        ("calls < 1.475x", "it is 1.475x"),
        ("fallback ends in new", "it ends in old"),
        ("arm idle is reached", "it gets no request"),
        ("hypothesis is set", "it is missing"),
        ("share of other <= 5%", "is no assert: no arm is called 'other'"),
        ("share of new <= 500%", "is no assert: share 500% is outside 0% to 100%"),
        ("share of new <= 5% or owner is set", "is no assert: there is no such sentence"),
        ("__import__('os')", "is no assert: there is no such sentence"),
    ],
)
def test_what_does_not_hold_is_refused_with_both_numbers(sentence, instead):
    """As a problem like any other, at its line."""
    with pytest.raises(ConfigRefused) as refused:
        load(sentence)

    assert str(refused.value).startswith("digits.yaml:11:5: asserts[0]: ")
    assert instead in str(refused.value)
