"""Members: every gateway says which revision it serves; whoever is gone is forgotten after a day."""

from sqlalchemy import Engine

from gateway.arms import ArmSeen, HostedSeen
from gateway.state.members import FORGET_AFTER_S, Member, Members


def test_the_latest_heartbeat_of_each_gateway_counts(engine: Engine) -> None:
    """An operator sees who has not followed, and why."""
    members = Members(engine)
    members.beat(Member("b", 1, "", 10.0))
    members.beat(Member("a", 1, "", 10.0))
    members.beat(Member("b", 1, "digits-2 cannot be opened", 11.0))
    assert (Member("a", 1, "", 10.0), Member("b", 1, "digits-2 cannot be opened", 11.0)) == members.all()


def test_a_gateway_not_seen_for_a_day_is_forgotten(engine: Engine) -> None:
    members = Members(engine)
    members.beat(Member("gone", 1, "", 0.0))
    members.beat(Member("here", 1, "", FORGET_AFTER_S + 1))
    assert ["here"] == [member.gateway for member in members.all()]


def test_what_a_gateway_needs_elsewhere_is_told(engine: Engine) -> None:
    """Others read it before they delete anything there."""
    members = Members(engine)
    members.beat(Member("a", 1, "", 10.0, ("turnout-1", "turnout-2")))
    assert ("turnout-1", "turnout-2") == members.all()[0].hosted
    members.beat(Member("a", 2, "", 11.0))
    assert () == members.all()[0].hosted


def test_how_a_gateways_arms_are_run_is_told(engine: Engine) -> None:
    """`turnout status` reads it, on whichever machine."""
    members = Members(engine)
    arms = (ArmSeen("digits", "digits-2", "ray", hosted=HostedSeen("turnout-1", 2)),)
    members.beat(Member("a", 1, "", 10.0, arms=arms))
    assert arms == members.all()[0].arms
