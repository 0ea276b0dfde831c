"""The rollout's machine: scenarios that an operator can read, and what holds on every path."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.spec import share_ppm
from strategies.core.state import Phase, RolloutState, live_ppm
from strategies.rollout.machine import PHRASES, TABLE, Event, IllegalTransition, Verb, move

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios" / "rollout").glob("*.txt"))
ANSWERED = {Phase.BAKING, Phase.HELD, Phase.PROMOTED}
EVENTS = st.builds(Event, st.sampled_from(Verb), st.sampled_from(["", "because"]))


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_a_scenario_goes_as_it_is_written(file: Path) -> None:
    """Each file in tests/scenarios/rollout tells a story; the machine tells the same one."""
    ramp, state = (), RolloutState()
    for story, expected in told(file.read_text()):
        outcome = ""
        for line in story:
            verb, *words = line.split()
            if verb == "ramp":
                ramp = tuple(map(share_ppm, words))
            else:
                state, outcome = attempt(state, Event(Verb(verb), " ".join(words)), len(ramp))
        assert expected == (outcome or described(state, ramp)), story


def told(text: str) -> list[tuple[list[str], str]]:
    """Blocks of lines, each with the one line that follows its dashes."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found, story = [], []
    while lines:
        line = lines.pop(0)
        if line == "----":
            found.append((story, lines.pop(0)))
            story = []
        else:
            story.append(line)
    return found


def attempt(state: RolloutState, event: Event, steps_n: int) -> tuple[RolloutState, str]:
    try:
        return move(state, event, steps_n=steps_n), ""
    except IllegalTransition as refused:
        return state, f"refused {refused}"


def described(state: RolloutState, ramp: tuple[int, ...]) -> str:
    share = live_ppm(ramp, state) / 10_000
    reason = f" reason={state.reason}" if state.reason else ""
    return f"{state.phase} step={state.step + 1} share={share:g}%{reason}"


def walk(events: list[Event], steps_n: int) -> list[RolloutState]:
    states = [RolloutState()]
    for event in events:
        states.append(attempt(states[-1], event, steps_n)[0])
    return states


@given(st.lists(EVENTS, max_size=30), st.integers(1, 5))
def test_no_path_leaves_the_ramp(events: list[Event], steps_n: int) -> None:
    """Whatever people type in whatever order, the share is one of the ramp's, all, or none."""
    ramp = tuple(range(1, steps_n + 1))
    for state in walk(events, steps_n):
        assert 0 <= state.step < steps_n
        assert live_ppm(ramp, state) in {*ramp, 0, 1_000_000}


@given(st.lists(EVENTS, max_size=30), st.integers(1, 5))
def test_nobody_climbs_two_steps_at_once(events: list[Event], steps_n: int) -> None:
    """A share rises by one step, by a promotion, or not at all."""
    for before, after in zip((states := walk(events, steps_n)), states[1:], strict=False):
        assert after.step <= before.step + 1
        if after.phase is Phase.PROMOTED and before.phase is not Phase.PROMOTED:
            assert before.phase in {Phase.BAKING, Phase.HELD}


@given(st.lists(EVENTS, max_size=30), st.integers(1, 5))
def test_from_wherever_a_candidate_answers_it_can_be_taken_back(events: list[Event], steps_n: int) -> None:
    """At three in the morning, rollback always works."""
    for state in walk(events, steps_n):
        if state.phase in ANSWERED:
            assert 0 == live_ppm((1,) * steps_n, move(state, Event(Verb.ROLLBACK), steps_n=steps_n))


def test_every_phase_has_its_row_and_its_words() -> None:
    """A new phase without moves or without a name for it cannot be forgotten."""
    assert set(Phase) == set(TABLE) == set(PHRASES)


@pytest.mark.parametrize(("phase", "verb"), list(product(Phase, Verb)))
def test_what_the_table_lacks_is_refused_with_what_is_possible(phase: Phase, verb: Verb) -> None:
    state = RolloutState(0, phase)
    if verb in TABLE[phase]:
        assert Phase(move(state, Event(verb), steps_n=2).phase)
    else:
        with pytest.raises(IllegalTransition, match="possible: "):
            move(state, Event(verb), steps_n=2)
