"""The rollout's machine: scenarios that an operator can read, and what holds on every path."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from strategies.core.state import WAITING, Phase, RolloutState, live_ppm
from strategies.evidence.rule import Verdict
from strategies.rollout.machine import (
    LONGEST_TICK_S,
    PHRASES,
    TABLE,
    Event,
    IllegalTransition,
    Verb,
    move,
    needs_approval,
)
from strategies.rollout.ramp import Inconclusive, Ramp

ANSWERED = {*WAITING, Phase.PROMOTED}
EVENTS = st.builds(
    Event,
    st.sampled_from(Verb),
    st.sampled_from(["", "because"]),
    st.sampled_from(["ann", "bob"]),
    st.floats(0, 1000),
    st.sampled_from(Verdict),
    st.sampled_from([0.0, 10.0]),
)
RAMPS = st.builds(
    lambda shares, bake_s, **rest: Ramp(tuple(sorted(shares)), (bake_s,) * len(shares), **rest),
    st.sets(st.integers(1, 1_000_000), min_size=1, max_size=5),
    st.sampled_from([0.0, 20.0]),
    patience_s=st.sampled_from([15.0, 1000.0]),
    approve_above_ppm=st.integers(0, 1_000_000),
    on_inconclusive=st.sampled_from(Inconclusive),
)


def attempt(state: RolloutState, event: Event, ramp: Ramp) -> RolloutState:
    try:
        return move(state, event, ramp)
    except IllegalTransition:
        return state


def walk(events: list[Event], ramp: Ramp) -> list[RolloutState]:
    states = [RolloutState(author="ann")]
    for event in events:
        states.append(attempt(states[-1], event, ramp))
    return states


@given(st.lists(EVENTS, max_size=40), RAMPS)
def test_no_path_leaves_the_ramp(events: list[Event], ramp: Ramp) -> None:
    """Whatever people type and whatever the evidence says, the share is one of the ramp's, all, or none."""
    for state in walk(events, ramp):
        assert 0 <= state.step < ramp.steps_n
        assert live_ppm(ramp.shares_ppm, state) in {*ramp.shares_ppm, 0, 1_000_000}


@given(st.lists(EVENTS, max_size=40), RAMPS)
def test_no_path_goes_beyond_the_approved_share(events: list[Event], ramp: Ramp) -> None:
    """Above the stated share the candidate gets no unit before somebody other than its author has said so."""
    for before, after in pairwise(walk(events, ramp)):
        was, now = (live_ppm(ramp.shares_ppm, state) for state in (before, after))
        if now > was and now > ramp.approve_above_ppm and after.step > 0:
            assert after.approver
        assert after.approver != after.author


@given(st.lists(EVENTS, max_size=40), RAMPS)
def test_nothing_climbs_on_evidence_of_harm_or_on_none(events: list[Event], ramp: Ramp) -> None:
    """With FAIL a look takes the candidate back, with HALT it moves nothing."""
    for event, (before, after) in zip(events, pairwise(walk(events, ramp)), strict=True):
        if event.verb is not Verb.TICK or before.phase not in WAITING:
            continue
        if event.verdict is Verdict.FAIL:
            assert after.phase is Phase.ROLLED_BACK
        if event.verdict is Verdict.HALT:
            assert (before.phase, before.step) == (after.phase, after.step)


@given(st.lists(EVENTS, max_size=40), RAMPS)
def test_nobody_climbs_two_steps_at_once(events: list[Event], ramp: Ramp) -> None:
    """A share rises by one step, by a promotion, or not at all."""
    for before, after in pairwise(walk(events, ramp)):
        assert after.step <= before.step + 1
        if after.phase is Phase.PROMOTED and before.phase is not Phase.PROMOTED:
            assert before.phase in {Phase.BAKING, Phase.HELD}


@given(st.lists(EVENTS, max_size=40), RAMPS)
def test_a_look_climbs_only_after_its_stay(events: list[Event], ramp: Ramp) -> None:
    """Time without requests is no time at a share: a step lasts as long as it had requests for that long."""
    for event, (before, after) in zip(events, pairwise(walk(events, ramp)), strict=True):
        is_up = live_ppm(ramp.shares_ppm, after) > live_ppm(ramp.shares_ppm, before)
        if event.verb is Verb.TICK and is_up:
            assert before.baked_s + event.served_s >= ramp.bake_s(before.step)


@given(st.lists(EVENTS, max_size=40), RAMPS)
def test_from_wherever_a_candidate_answers_it_can_be_taken_back(events: list[Event], ramp: Ramp) -> None:
    """At three in the morning, rollback always works."""
    for state in walk(events, ramp):
        if state.phase in ANSWERED:
            assert 0 == live_ppm(ramp.shares_ppm, move(state, Event(Verb.ROLLBACK), ramp))


@given(st.lists(EVENTS, max_size=40), RAMPS)
def test_a_rollback_lasts_until_somebody_restarts(events: list[Event], ramp: Ramp) -> None:
    states = [RolloutState(0, Phase.ROLLED_BACK)]
    for event in events:
        states.append(attempt(states[-1], event, ramp))
        if event.verb is Verb.RESTART:
            break
        assert states[-1].phase is Phase.ROLLED_BACK


def test_time_that_nobody_watched_counts_for_nothing() -> None:
    """A gateway that was down for an hour has not been patient for an hour."""
    ramp = Ramp((10_000,), patience_s=3600)
    state = move(RolloutState(last_tick_s=1000.0), Event(Verb.TICK, now_s=1000.0 + 7200), ramp)

    assert (LONGEST_TICK_S, Phase.BAKING) == (state.waited_s, state.phase)


def test_the_approval_of_a_doubt_is_none_of_a_share() -> None:
    """Who lets an unsure step go on has not said that the candidate may have half of the units."""
    ramp = Ramp((10_000, 20_000, 500_000), approve_above_ppm=20_000, on_inconclusive=Inconclusive.PROMOTE_WITH_APPROVAL)
    doubted = replace(RolloutState(author="ann"), phase=Phase.AWAITING_APPROVAL, is_waived=True)
    approved = move(doubted, Event(Verb.APPROVE, author="bob"), ramp)
    climbed = move(approved, Event(Verb.TICK, now_s=10.0), ramp)

    assert (1, "", False) == (climbed.step, climbed.approver, climbed.is_waived)
    assert needs_approval(climbed, ramp, 500_000)


def test_every_phase_has_its_row_and_its_words() -> None:
    """A new phase without moves or without a name for it cannot be forgotten."""
    assert set(Phase) == set(TABLE) == set(PHRASES)


@pytest.mark.parametrize(("phase", "verb"), list(product(Phase, Verb)))
def test_what_the_table_lacks_is_refused_with_what_is_possible(phase: Phase, verb: Verb) -> None:
    state, ramp = RolloutState(0, phase), Ramp((10_000, 500_000, 700_000), approve_above_ppm=500_000)
    if verb is Verb.PROMOTE and verb in TABLE[phase]:
        state = replace(state, approver="bob")
    if verb in TABLE[phase]:
        assert Phase(move(state, Event(verb), ramp).phase)
    else:
        with pytest.raises(IllegalTransition, match="possible: "):
            move(state, Event(verb), ramp)
