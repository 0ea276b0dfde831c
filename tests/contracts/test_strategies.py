"""What is asked of every strategy the catalogue finds, so that adding one is adding one file."""

from dataclasses import asdict
from pathlib import Path

import pytest

from gateway.config.directory import load_route
from gateway.config.yaml import YamlText, dump
from strategies.core.arm import Arm, Arms, Role, with_twin
from strategies.core.assignment import point_of, reallocate, salted
from strategies.core.catalogue import kinds, strategy_types
from strategies.core.plan import WHOLE_PPM
from strategies.core.state import RolloutState

ROLES = {"old": Role.BASELINE, "new": Role.CANDIDATE, "newer": Role.CANDIDATE, "dumb": Role.RESERVE}
# How an operator writes each strategy, from a small share to a larger one.
WRITTEN = {
    "baseline": [{"kind": "baseline"}],
    "ab": [
        {"kind": "ab", "shares": {"new": "5%", "newer": "5%"}},
        {"kind": "ab", "shares": {"new": "40%", "newer": "5%"}},
    ],
    "canary": [
        {"kind": "canary", "candidate": "new", "ramp": [{"share": "5%"}, {"share": "50%"}]},
        {"kind": "canary", "candidate": "new", "ramp": [{"share": "20%", "bake": "1h"}]},
        {"kind": "canary", "candidate": "new", "ramp": [{"share": "10%"}], "twin": True},
    ],
    "interleave": [
        {"kind": "interleave", "partners": ["new"], "ids": "items", "share": "5%"},
        {
            "kind": "interleave",
            "partners": ["new", "newer"],
            "items": "ids",
            "scores": "score",
            "k": 3,
            "aligned": ["title"],
            "method": "probabilistic",
            "share": "50%",
        },
        {"kind": "interleave", "partners": ["new"], "mode": "both", "slots": "blind"},
    ],
}
CASES = [(kind, index) for kind, documents in WRITTEN.items() for index in range(len(documents))]


@pytest.fixture
def arms() -> Arms:
    each = tuple(Arm(index, name, role, f"file:{name}.onnx") for index, (name, role) in enumerate(ROLES.items()))
    return with_twin(Arms(each, fallback=("old", "dumb")))


def strategy_of(written: dict):
    document = {
        "turnout": "v1",
        "route": "r",
        "arms": {name: {"model": f"file:{name}.onnx", "role": str(role)} for name, role in ROLES.items()},
        "strategy": written,
    }
    return load_route(YamlText(Path("r.yaml"), dump(document))).strategy


def test_every_strategy_is_asked():
    """A strategy without a row here would go untested."""
    assert set(WRITTEN) == set(kinds())


def test_the_word_an_operator_writes_is_the_name_of_the_file():
    assert [kind.__module__ for kind in strategy_types()] == [f"strategies.{kind}" for kind in kinds()]


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_shares_sum_to_the_whole_and_the_baseline_comes_last(arms, kind, index):
    plans = strategy_of(WRITTEN[kind][index]).plans(arms, None)

    assert sum(plan.share_ppm for plan in plans) == WHOLE_PPM
    assert plans[-1].assigned == arms.baseline


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_only_known_arms_appear(arms, kind, index):
    plans = strategy_of(WRITTEN[kind][index]).plans(arms, None)

    assert {arm for plan in plans for arm in (*plan.serve, *plan.fallback)} <= set(arms)


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_equal_facts_give_the_same_plan(arms, kind, index):
    first, second = (reallocate(None, strategy_of(WRITTEN[kind][index]).plans(arms, None)) for _ in range(2))
    points = [point_of(salted("r/0"), str(n).encode()) for n in range(200)]

    assert [first.at(point) for point in points] == [second.at(point) for point in points]


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_shares_match_simulated_units(arms, kind, index):
    """What is written is what units meet, within four standard errors of 20,000 units."""
    plans = strategy_of(WRITTEN[kind][index]).plans(arms, None)
    allocation = reallocate(None, plans)
    met = [allocation.at(point_of(salted("r/0"), str(n).encode())).label for n in range(20_000)]
    for plan in plans:
        share = plan.share_ppm / WHOLE_PPM
        assert abs(met.count(plan.label) / len(met) - share) <= 4 * (share * (1 - share) / len(met)) ** 0.5


@pytest.mark.parametrize("kind", [kind for kind, documents in WRITTEN.items() if len(documents) > 1])
def test_raising_a_share_moves_nobody_out_of_it(arms, kind):
    small, large = (strategy_of(document).plans(arms, None) for document in WRITTEN[kind][:2])
    before = reallocate(None, small)
    after = reallocate(before, large)
    for number in range(5_000):
        point = point_of(salted("r/0"), str(number).encode())
        if meets(before.at(point), "new"):
            assert meets(after.at(point), "new")


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_the_document_survives_a_round_trip(kind, index):
    """What is read can be written, and reads the same."""
    strategy = strategy_of(WRITTEN[kind][index])

    assert strategy_of(plain(asdict(strategy))) == strategy


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_a_strategy_is_a_value(arms, kind, index):
    """Equal words are equal strategies, and asking for plans changes nothing."""
    one, other = strategy_of(WRITTEN[kind][index]), strategy_of(WRITTEN[kind][index])
    one.plans(arms, RolloutState(step=0))

    assert one == other


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_a_correct_document_has_no_problems(arms, kind, index):
    assert strategy_of(WRITTEN[kind][index]).problems(arms) == []


def meets(plan, arm):
    return arm in [each.name for each in plan.serve]


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
