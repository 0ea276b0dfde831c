"""What the clerk remembers, and for how long."""

import pytest

from runners.ray import clerk as module
from runners.ray.clerk import FRESH_S, REMEMBERED_S, Clerk
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
