"""What a document means."""

from datetime import date
from pathlib import Path

import pytest

from gateway.config.compile import compile_route
from gateway.config.directory import NO_LAYERS, load_route
from gateway.config.yaml import YamlText, dump
from strategies.core.hashes import HASHES, HashName
from strategies.core.plan import Reason

CANARY = {"kind": "canary", "candidate": "new", "ramp": [{"share": "5%"}, {"share": "50%"}]}
BASE = {
    "turnout": "v1",
    "route": "digits",
    "arms": {
        "old": {"model": "file:old.onnx", "role": "baseline"},
        "new": {"model": "file:new.onnx", "role": "candidate"},
        "newer": {"model": "file:newer.onnx", "role": "candidate"},
    },
}


def test_the_chain_ends_where_the_document_says(compile_changed):
    route = compile_changed()

    assert route.fallback == ("old", "dumb")
    assert [arm.name for arm in route.plans[0].fallback] == ["old", "dumb"]


def test_without_a_chain_the_baseline_steps_in(compile_changed):
    assert compile_changed(fallback=None).fallback == ("old",)


def test_a_baseline_on_a_gpu_gets_a_copy_in_this_process(compile_changed):
    """Whatever happens to the GPU, somebody on the CPU can answer; and it is exercised before it is needed."""
    arms = {
        "old": {"model": "file:old.onnx", "role": "baseline", "provider": {"name": "cuda"}},
        "new": {"model": "file:new.onnx", "role": "candidate"},
    }
    route = compile_changed(arms=arms, fallback=["old"])
    twin = route.arms[-1]

    assert route.fallback == ("old", "old@resident")
    assert (twin.runner, twin.model.provider.name, twin.model.reference) == ("embedded", "cpu", "file:old.onnx")
    assert route.shadows == {"old@resident": 1_000}


def test_a_twin_is_never_assigned(compile_changed):
    arms = {"old": {"model": "file:old.onnx", "role": "baseline", "provider": {"name": "cuda"}}}
    route = compile_changed(arms=arms, fallback=["old"], strategy={"kind": "baseline"})

    assert [plan.assigned.name for plan in route.plans] == ["old"]


def test_paths_are_relative_to_the_config_directory(compile_changed):
    route = compile_changed(
        arms={"old": {"model": "file:old.onnx", "role": "baseline", "golden": "g.json"}},
        strategy={"kind": "baseline"},
        fallback=["old"],
    )

    assert (route.arms[0].model.root, route.arms[0].model.golden) == (Path("/nowhere"), Path("g.json"))


def test_a_constant_reference_is_run_by_the_constant_runner(compile_changed):
    assert [arm.runner for arm in compile_changed().arms] == ["embedded", "embedded", "constant"]


def test_a_shadow_gets_a_session_of_its_own(compile_changed):
    route = compile_changed(strategy={"kind": "baseline"}, shadow=[{"candidate": "new"}])

    assert [arm.is_shadowed for arm in route.arms] == [False, True, False]


def test_a_shadow_share_of_nothing_is_no_shadow(compile_changed):
    route = compile_changed(strategy={"kind": "baseline"}, shadow=[{"candidate": "new", "share": "0%"}])

    assert route.decider.shadows is None


def test_the_salt_is_the_routes_name_and_epoch(compile_changed):
    assert compile_changed().salt == "digits/0"
    assert compile_changed(salt="shared", epoch=3).salt == "shared/3"


def test_another_systems_hash_deals_by_its_salt_and_leaves_shadows_to_ours(compile_changed):
    """The shadow of a request is drawn alike whatever the units are dealt by."""
    shadow = [{"candidate": "new", "share": "20%"}]
    ours = compile_changed(strategy={"kind": "baseline"}, shadow=shadow)
    theirs = compile_changed(strategy={"kind": "baseline"}, shadow=shadow, hash="murmur3-unleash")
    events = [f"event-{n}" for n in range(100)]
    old = theirs.arms[0].arm

    assert (theirs.hash, theirs.salt) == ("murmur3-unleash", "digits")
    assert theirs.point_of(b"user-1") == HASHES[HashName.UNLEASH].at("digits", b"user-1")
    assert [ours.decider.shadows.draw(e, old) for e in events] == [theirs.decider.shadows.draw(e, old) for e in events]


def test_the_audience_keeps_the_rest_on_the_baseline(compile_changed):
    route = compile_changed(
        attributes={"tier": {"parameter": "tier"}, "region": {"header": "x-region"}},
        audience=[{"attribute": "region", "in": ["nz"]}],
    )

    (gate,) = route.decider.gates
    assert (gate.attribute, gate.instead.reason) == (1, Reason.NOT_ENROLLED)


@pytest.mark.parametrize("name", ["baseline", "ab", "canary", "interleave", "shadow", "audience", "actions"])
def test_the_examples_compile(name):
    """What the documents show can be copied."""

    from gateway.config.directory import NO_LAYERS, load_route
    from gateway.config.parse import read

    file = Path(__file__).parents[3] / "examples" / "strategies" / f"{name}.yaml"

    assert compile_route(load_route(read(file)), root=file.parent, layers=NO_LAYERS).plans


@pytest.mark.parametrize(
    "strategy",
    [{"kind": "ab", "shares": {"new": "50%"}}, CANARY, {"kind": "interleave", "partners": ["new"], "mode": "both"}],
)
def test_at_its_end_an_experiment_goes_back_to_the_baseline(strategy):
    """And says so; the day before it goes on."""
    written = {**BASE, "strategy": strategy, "shadow": [{"candidate": "newer"}], "expires": "2027-01-31"}
    document = load_route(YamlText(Path("r.yaml"), dump(written)))
    before, after = (
        compile_route(document, root=Path(), layers=NO_LAYERS, today=date(2027, 1, day)) for day in (30, 31)
    )

    assert (before.notice, len(before.plans), before.shadows) == ("", 2, {"newer": 1_000_000})
    assert [(plan.assigned.name, plan.share_ppm) for plan in after.plans] == [("old", 1_000_000)]
    assert after.shadows == {}
    assert after.notice == "expired on 2027-01-31: the baseline answers everything"
