"""The one word about whether the process wants traffic."""

from gateway.frontends.readiness import Readiness


def test_a_process_is_not_ready_until_it_says_so() -> None:
    """No probe sends traffic to a gateway that is still loading."""
    readiness = Readiness()
    before = readiness.is_ready()
    readiness.set(True)
    assert (False, True) == (before, readiness.is_ready())


def test_who_watches_hears_the_state_and_every_change_once() -> None:
    """A health stream shows each turn, and no turn twice."""
    readiness = Readiness()
    heard: list[bool] = []
    readiness.watch(heard.append)
    for state in (False, True, True, False):
        readiness.set(state)
    assert [False, True, False] == heard
