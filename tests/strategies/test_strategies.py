"""Each strategy's own words, and what it makes of them."""

import pytest

from strategies.ab import Ab
from strategies.baseline import Baseline
from strategies.canary import Canary, Step
from strategies.core.merge import Merge, Method, Mode, Slots
from strategies.core.plan import Reason
from strategies.core.spec import Problem
from strategies.core.state import Phase, RolloutState
from strategies.interleave import Interleave


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


def interleaved(**words) -> Interleave:
    return Interleave(**{"kind": "interleave", "partners": ("new",), "ids": "items"} | words)


def test_interleaving_calls_the_baseline_first_and_counts_nobody(arms):
    together, alone = interleaved(partners=("new", "newer"), share="20%", aligned=("price",), k=5).plans(arms, None)

    assert ([arm.name for arm in together.serve], together.label) == (["old", "new", "newer"], "old+new+newer")
    assert (together.assigned, together.share_ppm) == (None, 200_000)
    assert [arm.name for arm in together.fallback] == ["dumb"]
    assert together.merge == Merge(Mode.MERGE, Method.TEAM_DRAFT, ids="items", aligned=("price",), k=5)
    assert (alone.assigned, alone.share_ppm, alone.merge) == (arms.baseline, 800_000, None)


def test_models_that_do_not_rank_stand_side_by_side(arms):
    together, _ = interleaved(ids=None, mode="both", slots="blind").plans(arms, None)

    assert (together.merge.mode, together.merge.slots, together.merge.ranking) == (Mode.BOTH, Slots.BLIND, "")


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        ({"partners": ()}, [("partners",)]),
        ({"partners": ("new", "new")}, [("partners", 1)]),
        ({"partners": ("old",)}, [("partners", 0)]),
        ({"partners": ("nobody",)}, [("partners", 0)]),
        ({"share": "20"}, [("share",)]),
        ({"ids": None}, [("ids",)]),
        ({"ids": None, "items": "x"}, [("scores",)]),
        ({"ids": None, "scores": "x"}, [("items",)]),
        ({"scores": "y"}, [("ids",)]),
        ({"aligned": ("items", "price", "price")}, [("aligned", 0), ("aligned", 2)]),
        ({"k": 0}, [("k",)]),
        ({"k": 101}, [("k",)]),
        ({"slots": "blind"}, [("slots",)]),
        ({"mode": "both", "aligned": ("price",)}, [("ids",), ("aligned",)]),
    ],
)
def test_what_cannot_be_interleaved_is_told_where_it_is_written(arms, words, paths):
    problems = interleaved(**words).problems(arms)

    assert [problem.path for problem in problems] == paths
    assert all(problem.cure for problem in problems)


def test_no_more_partners_than_the_limit(arms):
    problems = interleaved(partners=("new", "newer", "new", "newer", "new")).problems(arms)

    assert problems[-1].what == "5 partners are called for every request, the limit is 4"
