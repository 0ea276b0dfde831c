"""Each strategy's own words, and what it makes of them."""

import pytest

from strategies.ab import Ab
from strategies.baseline import Baseline
from strategies.canary import Canary, Step
from strategies.core.plan import Reason
from strategies.core.spec import Problem
from strategies.core.state import Phase, RolloutState


def shares_of(plans) -> dict[str, int]:
    return {plan.assigned.name: plan.share_ppm for plan in plans}


def test_a_baseline_answers_everything(arms):
    (plan,) = Baseline().plans(arms, None)

    assert (plan.assigned.name, plan.reason) == ("old", Reason.ONLY_ARM)


def test_an_ab_test_leaves_the_rest_to_the_baseline(arms):
    plans = Ab(kind="ab", shares={"new": "30%", "newer": 0.2}).plans(arms, None)

    assert shares_of(plans) == {"new": 300_000, "newer": 200_000, "old": 500_000}


def test_shares_above_the_whole_are_refused(arms):
    problems = Ab(kind="ab", shares={"new": "60%", "newer": "50%"}).problems(arms)

    assert [problem.what for problem in problems] == ["the shares sum to more than 100%"]


def test_a_canary_begins_at_its_first_step(arms):
    canary = Canary(kind="canary", candidate="new", ramp=(Step(share="5%"), Step(share="50%")))

    assert shares_of(canary.plans(arms, None)) == {"new": 50_000, "old": 950_000}
    assert shares_of(canary.plans(arms, RolloutState(step=1))) == {"new": 500_000, "old": 500_000}


@pytest.mark.parametrize(
    ("phase", "share"),
    [("baking", 50_000), ("held", 50_000), ("promoted", 1_000_000), ("rolled_back", 0), ("expired", 0)],
)
def test_a_canary_has_the_share_of_its_phase(arms, phase, share):
    """Held keeps its share, promoted takes all, taken back takes none; the baseline always has the rest."""
    canary = Canary(kind="canary", candidate="new", ramp=(Step(share="5%"), Step(share="50%")))
    plans = canary.plans(arms, RolloutState(0, Phase(phase)))

    assert shares_of(plans) == {"new": share, "old": 1_000_000 - share}


def test_a_ramp_that_does_not_rise_is_refused_where_it_falls(arms):
    canary = Canary(kind="canary", candidate="new", ramp=(Step(share="5%"), Step(share="50%"), Step(share="50%")))

    assert [problem.path for problem in canary.problems(arms)] == [("ramp", 2, "share")]


def test_all_mistakes_are_told_at_once(arms):
    """One run of validate is enough to mend a file."""
    canary = Canary(kind="canary", candidate="nwe", ramp=(Step(share="5"), Step(share="50%", bake="soon")))

    assert [problem.path for problem in canary.problems(arms)] == [
        ("candidate",),
        ("ramp", 0, "share"),
        ("ramp", 1, "bake"),
    ]


@pytest.mark.parametrize(
    ("name", "cure"),
    [("nobody", "the arms are old, new, newer, dumb"), ("dumb", "name an arm with role: candidate")],
)
def test_only_candidates_can_be_examined(arms, name, cure):
    (problem,) = Ab(kind="ab", shares={name: "5%"}).problems(arms)

    assert isinstance(problem, Problem)
    assert problem.cure == cure
