"""Replicas that end unasked are counted, and no others."""

import pytest

from gateway.control.absentees import SILENT_S, Absentees
from runners.ray.members import Address, Member, State

ARM = "turnout-1"


def member(name, state=State.READY, *, is_detour=False):
    return Member(ARM, name, Address("/s"), state=state, is_detour=is_detour)


def died_n(*looks, wanted=(ARM,)):
    """After these looks, as far apart as it takes to believe in a death."""
    absentees = Absentees()
    for number, members in enumerate(looks):
        absentees.note(members, number * SILENT_S, wanted)
    return absentees.died_n[ARM]


@pytest.mark.parametrize("state", [State.STARTING, State.READY])
def test_who_is_missing_for_long_has_ended_unasked(state):
    assert 1 == died_n([member("a", state), member("b")], [member("b")], [member("b")], [member("b")])


@pytest.mark.parametrize("state", [State.DRAINING, State.GONE])
def test_who_was_told_to_end_is_not_counted(state):
    assert 0 == died_n([member("a")], [member("a", state)], [], [])


def test_who_is_missing_for_a_moment_lives():
    """A clerk that was made anew knows nobody for a second."""
    assert 0 == died_n([member("a")], [], [member("a")], [], [member("a")])


def test_a_detour_is_no_replica():
    assert 0 == died_n([member("a", is_detour=True)], [], [], [])


def test_what_is_not_wanted_any_more_is_forgotten():
    """Names of applications come and go: what was counted for them would stay for ever."""
    absentees = Absentees()
    for now, members, wanted in ((0, [member("a")], [ARM]), (10, [], [ARM]), (20, [], [ARM]), (30, [], [])):
        absentees.note(members, now, wanted)
    assert {} == absentees.died_n
