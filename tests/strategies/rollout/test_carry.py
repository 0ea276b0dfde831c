"""An edited ramp neither moves a unit nor forgets where it stood."""

from hypothesis import given
from hypothesis import strategies as st

from strategies.core.state import Phase, RolloutState, live_ppm
from strategies.rollout.carry import carried

RAMPS = st.lists(st.integers(1, 1_000_000), min_size=1, max_size=6, unique=True).map(sorted).map(tuple)


@given(RAMPS, RAMPS, st.data())
def test_carrying_a_state_never_changes_the_share(before, after, data):
    state = RolloutState(data.draw(st.integers(0, len(before) - 1)), data.draw(st.sampled_from([*Phase])), "why")
    kept = carried(state, before, after)
    if kept is None:
        assert before[state.step] not in after
    else:
        assert live_ppm(before, state) == live_ppm(after, kept)
        assert (state.phase, "why") == (kept.phase, kept.reason)
