"""Serving without a file."""

from pathlib import Path

import pytest

from gateway.config.problems import ConfigRefused
from gateway.config.quick import quick_configuration
from strategies.core.plan import WHOLE_PPM


def route(strategy: str, *names: str):
    return quick_configuration([Path(name) for name in names], strategy).routes[0]


def test_one_model_is_served_under_its_own_name():
    document = route("baseline", "a.onnx")

    assert (document.route, document.strategy.kind, document.arms["a"].model) == (
        "a",
        "baseline",
        f"file:{Path('a.onnx').resolve()}",
    )


@pytest.mark.parametrize(
    ("strategy", "shares"),
    [("canary:5%", {"new": 50_000}), ("ab:30%", {"new": 300_000}), ("ab", {"new": 500_000}), ("shadow:20%", {})],
)
def test_a_second_model_is_the_candidate(strategy, shares):
    from gateway.config.check import arms_of

    document = route(strategy, "old.onnx", "new.onnx")
    plans = document.strategy.plans(arms_of(document), None)

    assert {plan.assigned.name: plan.share_ppm for plan in plans} == shares | {"old": WHOLE_PPM - sum(shares.values())}
    assert [shadow.candidate for shadow in document.shadow] == (["new"] if strategy.startswith("shadow") else [])


def test_files_of_one_name_are_told_apart_by_their_folders():
    assert list(route("ab", "v1/model.onnx", "v2/model.onnx").arms) == ["v1-model", "v2-model"]


@pytest.mark.parametrize(
    ("strategy", "names", "why"),
    [
        ("dice:5%", ("a.onnx", "b.onnx"), "unknown strategy"),
        ("canary:5%", ("a.onnx",), "needs a second model"),
        ("canary:5", ("a.onnx", "b.onnx"), "write five percent as 5%"),
        ("ab:60%", ("a.onnx", "b.onnx", "c.onnx"), "more than 100%"),
    ],
)
def test_a_mistake_is_told_with_its_cure(strategy, names, why):
    with pytest.raises(ConfigRefused, match=why):
        route(strategy, *names)
