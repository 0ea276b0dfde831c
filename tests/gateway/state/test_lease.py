"""Of several gateways one leads, and another goes on when it is gone."""

from gateway.state.lease import Leases


def test_one_holds_and_the_others_wait_until_it_is_gone(engine):
    ours = Leases(engine)
    assert ours.hold("lead", "a", now=100.0, for_s=6.0)
    assert not ours.hold("lead", "b", now=105.9, for_s=6.0)
    assert ours.hold("lead", "b", now=106.0, for_s=6.0)
    assert not ours.hold("lead", "a", now=107.0, for_s=6.0)


def test_who_asks_again_keeps_it(engine):
    ours = Leases(engine)
    for now in range(100, 130):
        assert ours.hold("lead", "a", now=now, for_s=6.0)
    assert not ours.hold("lead", "b", now=130.0, for_s=6.0)


def test_who_leaves_lets_another_take_it_at_once(engine):
    ours = Leases(engine)
    ours.hold("lead", "a", now=100.0, for_s=6.0)
    ours.leave("lead", "b")
    assert not ours.hold("lead", "b", now=101.0, for_s=6.0)
    ours.leave("lead", "a")
    assert ours.hold("lead", "b", now=101.0, for_s=6.0)


def test_leases_are_apart(engine):
    ours = Leases(engine)
    assert ours.hold("one", "a", now=100.0, for_s=6.0)
    assert ours.hold("other", "b", now=100.0, for_s=6.0)
