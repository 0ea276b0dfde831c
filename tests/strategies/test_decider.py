"""Deciding: the same for every route, whatever its strategy."""

import pytest
from msgspec.structs import replace

from strategies.core.assignment import reallocate
from strategies.core.decider import Decider, ShadowTable, shadow_draw
from strategies.core.enrolment import Audience
from strategies.core.merge import Merge, Mode
from strategies.core.plan import Reason, RequestFacts, answering, merging, uncounted

REGION = 0


@pytest.fixture
def decider(arms):
    plans = (answering(arms["new"], 100_000, arms), answering(arms.baseline, 900_000, arms))
    return Decider(
        allocation=reallocate(None, plans),
        overrides={arm.name: uncounted(arm, Reason.OVERRIDE, arms) for arm in arms},
        pins={arm.name: uncounted(arm, Reason.PINNED, arms) for arm in arms},
        gates=(Audience(REGION, frozenset({"nz"}), uncounted(arms.baseline, Reason.NOT_ENROLLED, arms)),),
        shadows=ShadowTable(
            (shadow_draw("digits/0", arms["newer"], 1_000_000), shadow_draw("digits/0", arms["dumb"], 250_000))
        ),
    )


def facts(point: int = 0, region: str = "nz", **more: str) -> RequestFacts:
    return RequestFacts(event_id=more.pop("event_id", "e1"), unit="u", point=point, attributes=(region,), **more)


def test_a_low_point_meets_the_candidate(decider):
    plan = decider.decide(facts(point=0)).plan

    assert (plan.assigned.name, plan.reason, plan.share_ppm) == ("new", Reason.SPLIT, 100_000)


def test_a_high_point_meets_the_baseline(decider):
    assert decider.decide(facts(point=2**63)).plan.assigned.name == "old"


def test_units_outside_the_audience_get_the_baseline_and_are_not_counted(decider):
    """An experiment in New Zealand leaves Australia alone."""
    plan = decider.decide(facts(point=0, region="au")).plan

    assert (plan.serve[0].name, plan.assigned, plan.reason) == ("old", None, Reason.NOT_ENROLLED)


def test_an_override_wins_over_the_audience_and_is_never_counted(decider):
    plan = decider.decide(facts(point=0, region="au", override="newer")).plan

    assert (plan.serve[0].name, plan.assigned, plan.reason) == ("newer", None, Reason.OVERRIDE)


def test_a_pinned_version_is_answered_by_its_arm_and_never_counted(decider):
    plan = decider.decide(facts(pinned="new")).plan

    assert (plan.serve[0].name, plan.assigned, plan.reason) == ("new", None, Reason.PINNED)


def test_an_arm_never_falls_back_on_itself(decider):
    """A baseline that fails is not asked again; the reserve is next."""
    assert [arm.name for arm in decider.decide(facts(point=2**63)).plan.fallback] == ["dumb"]
    assert [arm.name for arm in decider.decide(facts(point=0)).plan.fallback] == ["old", "dumb"]


def test_the_arm_that_serves_is_not_its_own_shadow(decider):
    shadows = decider.decide(facts(override="newer")).shadows

    assert "newer" not in [arm.name for arm in shadows]


def test_a_shadow_share_is_kept_and_drawn_per_event(decider):
    """A quarter of the requests is a quarter of the requests, whoever they come from."""
    drawn = [decider.decide(facts(event_id=f"e{n}")).shadows for n in range(20_000)]
    quarter = sum("dumb" in [arm.name for arm in shadows] for shadows in drawn) / len(drawn)

    assert all("newer" in [arm.name for arm in shadows] for shadows in drawn)
    assert abs(quarter - 0.25) < 4 * (0.25 * 0.75 / len(drawn)) ** 0.5


def test_two_shadows_are_drawn_independently(arms):
    table = ShadowTable(tuple(shadow_draw("s/0", arms[name], 500_000) for name in ("new", "newer")))
    both = sum(len(table.draw(f"e{n}", arms["old"])) == 2 for n in range(20_000)) / 20_000

    assert abs(both - 0.25) < 0.0123


def test_deciding_twice_decides_alike(decider):
    assert decider.decide(facts(point=7)) == decider.decide(facts(point=7))


def test_more_than_eight_shadows_are_refused(arms):
    with pytest.raises(ValueError, match="at most 8 shadows"):
        ShadowTable((shadow_draw("s/0", arms["new"], 1),) * 9)


def test_a_partner_is_not_its_own_shadow(arms, decider):
    """Whoever is called on the client's time is not called again behind it."""
    plan = merging((arms["newer"],), Merge(Mode.BOTH), 1_000_000, arms)
    together = replace(decider, allocation=reallocate(None, (plan,)))

    assert all(arms["newer"] not in together.decide(facts(event_id=f"e{n}")).shadows for n in range(20))
    assert any(arms["dumb"] in together.decide(facts(event_id=f"e{n}")).shadows for n in range(100))
