"""What the clerk remembers, and for how long."""

import pytest

from runners.ray import clerk as module
from runners.ray.clerk import FRESH_S, REMEMBERED_S, WAIT_FIRST_S, WAIT_MOST_S, YOUNG_N, YOUNG_S, Clerk
from runners.ray.members import Address, Member, State


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def member(name, state=State.READY):
    return Member("turnout-1", name, Address(host="h", port=1), state=state)


def test_a_replica_is_told_of_while_it_says_so(clock):
    """One that is frozen or dead falls silent, and is told of no more."""
    clerk = Clerk()
    clerk.post(member("a"))
    clock[0] += FRESH_S - 1
    clerk.post(member("b"))
    clock[0] += 2
    assert [member("b")] == clerk.members()


def test_an_end_is_told_for_longer(clock):
    """Every gateway hears of it, also one that looks seldom."""
    clerk = Clerk()
    clerk.post(member("a", State.GONE))
    clock[0] += FRESH_S + 1
    assert [member("a", State.GONE)] == clerk.members()
    clock[0] += REMEMBERED_S
    assert [] == clerk.members()


def test_files_are_given_as_they_were_brought_and_dropped_when_unwanted(clock):
    clerk = Clerk()
    assert clerk.lacks(["d", "e"]) == ["d", "e"]
    assert clerk.pieces_n("d") == -1
    clerk.bring("d", [b"one", b"two"])
    assert clerk.lacks(["d", "e"]) == ["e"]
    assert [clerk.piece("d", place) for place in range(clerk.pieces_n("d"))] == [b"one", b"two"]
    clock[0] += REMEMBERED_S - 1
    assert clerk.lacks(["d"]) == []
    clock[0] += REMEMBERED_S + 1
    clerk.lacks(["e"])
    assert clerk.lacks(["d"]) == ["d"]


def begun(clerk, clock, count):
    """So many replicas begin one after the other, each after the death of the one before."""
    told = []
    for number in range(count):
        told.append(clerk.begin(member(f"r{number}", State.STARTING)))
        clock[0] += FRESH_S + 1
    return told


def test_a_replica_waits_before_it_opens_a_model_that_killed_others(clock):
    """The first ones come back at once, then ever more seldom; a new life for whoever begins minutes later."""
    clerk = Clerk()
    waits = begun(clerk, clock, YOUNG_N + 6)
    assert [0.0] * (YOUNG_N + 1) == waits[: YOUNG_N + 1]
    assert [WAIT_FIRST_S, 2 * WAIT_FIRST_S, 4 * WAIT_FIRST_S, WAIT_MOST_S, WAIT_MOST_S] == waits[YOUNG_N + 1 :]
    clock[0] += YOUNG_S
    assert 0.0 == clerk.begin(member("last", State.STARTING))


def test_nobody_waits_for_replicas_that_ended_in_order_nor_for_those_that_still_load(clock):
    clerk = Clerk()
    for number in range(2 * YOUNG_N):
        assert 0.0 == clerk.begin(member(f"leaves{number}", State.STARTING))
        clerk.post(member(f"leaves{number}", State.GONE))
    clock[0] += REMEMBERED_S + 1
    assert [0.0] * 8 == [clerk.begin(member(f"loads{number}", State.STARTING)) for number in range(8)]


def test_the_deaths_of_one_arm_delay_no_other(clock):
    clerk = Clerk()
    begun(clerk, clock, 2 * YOUNG_N)
    assert 0.0 == clerk.begin(Member("turnout-2", "other", Address(), state=State.STARTING))
