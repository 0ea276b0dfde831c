"""Who takes part: holdout and layers, asked before the route's own map and independent of it."""

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.arm import Arm, Arms, Role
from strategies.core.assignment import point_of, reallocate, salted
from strategies.core.decider import Decider
from strategies.core.enrolment import Audience, Gate, Holdout, Slots, held_out, in_layer
from strategies.core.plan import WHOLE_PPM, Reason, RequestFacts, answering, uncounted

ARMS = Arms(
    tuple(
        Arm(index, name, role, f"file:{name}")
        for index, (name, role) in enumerate({"old": Role.BASELINE, "new": Role.CANDIDATE}.items())
    )
)
HELD = uncounted(ARMS.baseline, Reason.HELD_OUT, ARMS)
OUTSIDE = uncounted(ARMS.baseline, Reason.NOT_ENROLLED, ARMS)
UNITS = [f"unit-{n}" for n in range(20_000)]
shares = st.integers(0, WHOLE_PPM)
units = st.text(max_size=20)


def facts(unit: str, salt: str = "digits/0", **more: str) -> RequestFacts:
    event_id = more.pop("event_id", "e1")
    unit_bytes = (unit or event_id).encode("utf-8", "surrogateescape")
    return RequestFacts(event_id=event_id, unit=unit, point=point_of(salted(salt), unit_bytes), **more)


def decider(*gates: Gate) -> Decider:
    plans = (answering(ARMS["new"], 500_000, ARMS), answering(ARMS.baseline, 500_000, ARMS))
    return Decider(
        allocation=reallocate(None, plans),
        overrides={arm.name: uncounted(arm, Reason.OVERRIDE, ARMS) for arm in ARMS},
        pins={arm.name: uncounted(arm, Reason.PINNED, ARMS) for arm in ARMS},
        gates=gates,
    )


def share(took: list[bool]) -> float:
    return sum(took) / len(took)


def far_off(found: float, expected: float, n: int) -> bool:
    """Beyond four standard errors, which happens to an honest share once in 16 000 tries."""
    return abs(found - expected) > 4 * (expected * (1 - expected) / n) ** 0.5


@given(units, shares)
def test_whoever_is_held_out_is_so_on_every_route(unit, share_ppm):
    """Routes know nothing of each other, and agree on the holdout to the unit."""
    one, other = decider(Holdout(held_out("h", share_ppm), HELD)), decider(Holdout(held_out("h", share_ppm), HELD))

    seen = {one.plan_for(facts(unit, "digits/0")).reason, other.plan_for(facts(unit, "fraud/3")).reason}
    assert len({reason is Reason.HELD_OUT for reason in seen}) == 1


@given(units, shares, shares)
def test_a_larger_holdout_only_adds_units(unit, one, other):
    """Whoever is held out at 2 % is at 5 %."""
    smaller, larger = sorted((one, other))

    assert held_out("h", larger).takes(facts(unit)) or not held_out("h", smaller).takes(facts(unit))


@given(units, st.lists(shares, min_size=1, max_size=6))
def test_ranges_that_meet_deal_every_unit_once(unit, cuts):
    """A layer that is cut into ranges has no gap and no overlap, whatever the cuts."""
    edges = sorted({0, WHOLE_PPM, *cuts})
    draws = [in_layer("checkout", pair) for pair in pairwise(edges)]

    assert [draw.takes(facts(unit)) for draw in draws].count(True) == 1


def test_the_shares_are_those_that_were_written():
    assert not far_off(share([held_out("h", 30_000).takes(facts(unit)) for unit in UNITS]), 0.03, len(UNITS))
    assert not far_off(share([in_layer("l", (100_000, 350_000)).takes(facts(u)) for u in UNITS]), 0.25, len(UNITS))


@pytest.mark.parametrize("salt", ["digits/0", "same"])
def test_a_layer_says_nothing_of_the_arm(salt):
    """Half of the units in a fifth of the layer meet the candidate, even where layer and route have one salt."""
    enrolled = decider(Slots("l", in_layer(salt, (0, 200_000)), OUTSIDE))
    plans = [enrolled.plan_for(facts(unit, salt)) for unit in UNITS]
    counted = [plan for plan in plans if plan.assigned]

    assert not far_off(len(counted) / len(plans), 0.2, len(plans))
    assert not far_off(share([plan.assigned.name == "new" for plan in counted]), 0.5, len(counted))


def test_holdout_and_layers_are_independent_of_each_other():
    """All may have one salt, and a unit's place in one still says nothing of its place in another."""
    layers = [in_layer(salt, (0, 500_000)) for salt in ("s", "t")]
    draws = [*layers, held_out("s", 500_000)]
    taken = [tuple(draw.takes(facts(unit)) for draw in draws) for unit in UNITS]

    for combination in {(a, b, c) for a in (True, False) for b in (True, False) for c in (True, False)}:
        assert not far_off(taken.count(combination) / len(taken), 1 / 8, len(taken))


def test_the_places_are_those_that_the_documentation_says():
    """Anyone can compute them, in any language."""
    layer, holdout = in_layer("checkout", (0, WHOLE_PPM)), held_out("holdout", WHOLE_PPM)

    expected = int.from_bytes(sha256(b"checkout\x1flayer\x1faccount-7").digest()[:8])
    assert layer.point_of(facts("account-7")) == expected
    assert holdout.point_of(facts("account-7")) == int.from_bytes(
        sha256(b"holdout\x1fholdout\x1faccount-7").digest()[:8]
    )


def test_the_whole_is_everybody_and_nothing_nobody():
    """No unit slips through the rounding of a million parts."""
    top = RequestFacts("e", "u", 0)

    assert (held_out("h", WHOLE_PPM).end, held_out("h", 0).takes(top)) == (2**64, False)


def test_the_first_gate_that_leaves_a_unit_out_says_why():
    """Of the held out nobody asks where they live."""
    everybody, nobody = held_out("h", WHOLE_PPM), in_layer("l", (0, 1))
    abroad = Audience(0, frozenset({"nz"}), OUTSIDE)
    gates = (Holdout(everybody, HELD), Slots("l", nobody, OUTSIDE), abroad)

    assert decider(*gates).plan_for(facts("u", attributes=("au",))) is HELD
    assert decider(*gates[1:]).plan_for(facts("u", attributes=("nz",))) is OUTSIDE
    assert decider(abroad).plan_for(facts("u", attributes=("au",))) is OUTSIDE


def test_the_held_out_get_the_baseline_and_are_not_counted():
    plan = decider(Holdout(held_out("h", WHOLE_PPM), HELD)).plan_for(facts("u"))

    assert (plan.serve[0].name, plan.assigned, plan.reason) == ("old", None, Reason.HELD_OUT)


def test_an_override_reaches_the_held_out():
    """Whoever tests a candidate by force need not know about the holdout."""
    enrolled = decider(Holdout(held_out("h", WHOLE_PPM), HELD))

    assert enrolled.plan_for(facts("u", override="new")).reason is Reason.OVERRIDE
    assert enrolled.plan_for(facts("u", pinned="new")).reason is Reason.PINNED


def test_a_request_without_a_unit_stands_for_itself():
    """The share is kept of requests, then."""
    draw = held_out("h", 500_000)
    took = [draw.takes(facts("", event_id=f"event-{n}")) for n in range(10_000)]

    assert not far_off(share(took), 0.5, len(took))
