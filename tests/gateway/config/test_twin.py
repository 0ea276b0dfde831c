"""A canary's twin: what it is made of, what it costs, and when there is none."""

from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.cli.validate import describe
from gateway.config.compile import compile_route
from gateway.config.contents import Contents
from gateway.config.directory import NO_LAYERS, load_route
from gateway.config.problems import ConfigRefused
from gateway.config.traffic import traffic_of
from gateway.config.yaml import YamlText, dump
from gateway.publishing.change import Apply
from gateway.publishing.prepare import prepare
from gateway.publishing.rules import rule_of
from strategies.core.state import Phase, RolloutState
from tests.gateway.conftest import documents

TWINNED = {"kind": "canary", "candidate": "new", "ramp": [{"share": "5%"}, {"share": "50%"}], "twin": True}


def load(baseline: dict[str, object] | None = None):
    arms = {
        "old": {"model": "file:old.onnx", "role": "baseline"} | (baseline or {}),
        "new": {"model": "file:new.onnx", "role": "candidate"},
        "dumb": {"model": "file:dumb.onnx", "role": "reserve"},
    }
    document = {"turnout": "v1", "route": "digits", "arms": arms, "strategy": TWINNED, "fallback": ["dumb"]}
    return load_route(YamlText(Path("r.yaml"), dump(document)))


def compiled(baseline: dict[str, object] | None = None, state: RolloutState | None = None):
    return compile_route(load(baseline), root=Path(), layers=NO_LAYERS, state=state)


def test_a_twin_is_the_baselines_model_run_as_the_baseline_is_and_apart_from_it():
    """The same words but for one, by which nobody takes one for the other."""
    route = compiled({"threads": 2, "version": "7"})
    old, *_, twin = route.arms

    assert ("old@twin", "embedded", "7") == (twin.arm.name, twin.runner, twin.arm.version)
    assert replace(old.model, is_twin=True) == twin.model
    assert old.key != twin.key
    assert "old@twin" not in traffic_of(route).unlike


def test_on_ray_a_twin_has_replicas_of_its_own():
    """Sharing the baseline's would share its caches and its load."""
    route = compiled({"runner": "ray", "resources": {"num_cpus": 2}})
    old, twin = (next(each for each in route.arms if each.arm.name == name) for name in ("old", "old@twin"))

    assert replace(old.model, is_twin=True) == twin.model
    assert old.identified("d").model.hosting.key != twin.identified("d").model.hosting.key


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.EXPIRED])
def test_a_twin_is_let_go_when_there_is_nothing_to_compare_any_more(phase):
    """Nobody pays for it after the rollout."""
    names = ["old", "new", "dumb"]
    assert names == [each.arm.name for each in compiled(state=RolloutState(1, phase)).arms]
    assert [*names, "old@twin"] == [each.arm.name for each in compiled(state=RolloutState(1)).arms]


def test_a_baseline_on_another_server_has_no_twin():
    """It would be that same server."""
    with pytest.raises(ConfigRefused) as refused:
        load({"model": "remote:digits:2", "url": "grpc://host:8001"})
    assert [("strategy", "twin")] == [each.problem.path for each in refused.value.problems]


def test_the_candidate_is_judged_beside_its_twin():
    rule = rule_of(load(), compiled())
    assert ("new", "old@twin", "old") == (rule.candidate, rule.baseline, rule.rest)


def test_what_a_twin_costs_is_told_before_it_is_opened():
    told = "\n".join(describe(compiled()))
    assert "units     new 5%, old@twin 5%, old 90%; 100% in all" in told
    assert "twin      old@twin: the baseline's model once more, in every serving process" in told
    on_ray = "\n".join(describe(compiled({"runner": "ray"})))
    assert "once more, on Ray, 1 of 1 CPUs and 0 GPUs" in on_ray


def test_to_ask_for_a_twin_says_who_moves_and_begins_another_experiment(after):
    """What was counted beside the warm baseline is no evidence beside a fresh one; nobody leaves the candidate."""
    first = documents(strategy={**TWINNED, "twin": False})
    before = after(Apply(first))
    words = asked(before, Apply(documents(strategy=TWINNED)))

    assert "5% of units move from old to old@twin, none return" in words
    assert "strategy.twin no → yes" in words
    assert "a new experiment begins, for strategy.twin changed" in words


def asked(meaning, change) -> tuple[str, ...]:
    (difference,) = prepare(meaning, change, today=date.min, contents=Contents()).differences
    return difference.words
