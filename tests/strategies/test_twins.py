"""A canary beside a second copy of the baseline: who meets whom, and what the comparison promises."""

import random

import pytest

from strategies.canary import Canary, Step
from strategies.core.arm import Arms, with_twin
from strategies.core.assignment import POINTS, Allocation, moves, reallocate
from strategies.core.state import Phase, RolloutState
from strategies.evidence.bounds import Bound, Form, Rule
from strategies.evidence.epochs import ERROR_RATE, ArmCounts, Epoch
from strategies.evidence.rule import Verdict, fold, judge, start

WHOLE_PPM = 1_000_000


def canary(*shares: str) -> Canary:
    return Canary(kind="canary", candidate="new", ramp=tuple(Step(share=each) for each in shares), twin=True)


def shares_of(plans) -> dict[str, int]:
    return {plan.assigned.name: plan.share_ppm for plan in plans}


@pytest.fixture
def twinned(arms) -> Arms:
    return with_twin(arms)


def test_a_twin_has_as_many_units_as_the_candidate_and_the_baseline_has_the_rest(twinned):
    ramp = canary("5%", "50%")

    assert shares_of(ramp.plans(twinned, None)) == {"new": 50_000, "old@twin": 50_000, "old": 900_000}
    assert shares_of(ramp.plans(twinned, RolloutState(step=1))) == {"new": 500_000, "old@twin": 500_000, "old": 0}


@pytest.mark.parametrize(("phase", "share"), [("promoted", WHOLE_PPM), ("rolled_back", 0), ("expired", 0)])
def test_there_is_no_twin_where_nothing_is_compared(arms, phase, share):
    """A second copy of a model is not held for nothing."""
    plans = canary("5%").plans(arms, RolloutState(0, Phase(phase)))

    assert shares_of(plans) == {"new": share, "old": WHOLE_PPM - share}


def test_behind_a_twin_stands_whoever_stands_behind_the_candidate(twinned):
    candidate, twin, _ = canary("5%").plans(twinned, None)

    assert [arm.name for arm in twin.fallback] == [arm.name for arm in candidate.fallback] == ["old", "dumb"]


def test_a_step_that_leaves_too_little_for_a_twin_is_refused(arms):
    found = canary("5%", "60%").problems(arms)

    assert [(each.path, "50%" in each.cure) for each in found] == [(("ramp", 1, "share"), True)]
    assert canary("5%", "50%").problems(arms) == []


@pytest.mark.parametrize("seed", range(30))
def test_whoever_met_the_candidate_or_its_twin_keeps_it_on_any_ramp(twinned, seed):
    """As the share grows, both only ever win units of the baseline's; at the end the twin's meet the candidate."""
    chance = random.Random(seed)
    shares = sorted(chance.sample(range(1, WHOLE_PPM // 2 + 1), chance.randint(2, 6)))
    ramp = canary(*[f"{ppm / 10_000:.4f}%" for ppm in shares])
    plain = Canary(kind="canary", candidate="new", ramp=(Step(share=f"{shares[0] / 20_000:.4f}%"),))
    before = reallocate(None, plain.plans(twinned, None)) if seed % 2 else None  # some come from a canary without one
    for step, ppm in enumerate(shares):
        after = reallocate(before, ramp.plans(twinned, RolloutState(step=step)))
        assert widths(after)["new"] == widths(after)["old@twin"] == ppm * POINTS // WHOLE_PPM
        assert before is None or set(moves(before, after)) <= {("old", "new"), ("old", "old@twin")}
        before = after

    promoted = reallocate(before, ramp.plans(twinned, RolloutState(len(shares) - 1, Phase.PROMOTED)))
    back = reallocate(before, ramp.plans(twinned, RolloutState(len(shares) - 1, Phase.ROLLED_BACK)))
    assert {target for _, target in moves(before, promoted)} == {"new"}
    assert {target for _, target in moves(before, back)} == {"old"}


def widths(allocation: Allocation) -> dict[str, int]:
    found: dict[str, int] = {}
    for start_, end, plan in allocation.intervals():
        found[plan.assigned.name] = found.get(plan.assigned.name, 0) + end - start_
    return found


RULE = Rule(candidate="new", baseline="old@twin", bounds=(Bound(metric=ERROR_RATE, form=Form.EVENTS),), alpha=0.05)
STEPS = ((50_000, 40), (250_000, 40), (500_000, 40))  # share, epochs


def verdicts(chance: random.Random, new: float, twin: float, old: float) -> set[Verdict]:
    """All that is ever said of a candidate, errors being so frequent; 2,000 requests an epoch."""
    evidence, found, number = start(RULE), set(), 0
    for step, (share, epochs_n) in enumerate(STEPS):
        shares = {"new": share, "old@twin": share, "old": WHOLE_PPM - 2 * share}
        for _ in range(epochs_n):
            number += 1
            requests = {name: 2_000 * ppm // WHOLE_PPM for name, ppm in shares.items()}
            rates = {"new": new, "old@twin": twin, "old": old}
            arms = {
                name: ArmCounts(n, n, n, events={ERROR_RATE: sum(chance.random() < rates[name] for _ in range(n))})
                for name, n in requests.items()
            }
            evidence = fold(RULE, evidence, Epoch(number, step, shares, arms))
            found.add(judge(RULE, evidence).verdict)
    return found


def test_a_candidate_as_good_as_its_twin_stays_however_much_better_the_warm_baseline_is():
    """What is fresh fails more often for a while; that is no harm of the candidate's. At most alpha are taken back."""
    chance = random.Random(20_261_127)
    back_n = sum(Verdict.FAIL in verdicts(chance, new=0.02, twin=0.02, old=0.002) for _ in range(40))

    assert back_n <= 5  # 40 runs at 5 %: more than this has a chance of 1 %


def test_a_candidate_that_is_worse_than_its_twin_goes_back_though_the_baseline_is_as_bad():
    """Only the twin is compared to."""
    assert Verdict.FAIL in verdicts(random.Random(7), new=0.03, twin=0.01, old=0.03)
