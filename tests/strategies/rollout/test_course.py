"""A rollout walks over closed epochs, and whoever walks them again comes to the same place."""

from msgspec.structs import replace

from strategies.core.state import Phase, RolloutState
from strategies.evidence.bounds import Bound, Form, Rule
from strategies.evidence.epochs import ERROR_RATE, ArmCounts, Epoch
from strategies.rollout.course import Course, after_epoch, after_look, after_pause, enter, published
from strategies.rollout.machine import Event, Verb, move
from strategies.rollout.ramp import Ramp

RULE = Rule(candidate="new", baseline="old", bounds=(Bound(metric=ERROR_RATE, rate=0.02),), n_min=50)
RAMP = Ramp((100_000, 500_000), (30.0, 30.0), patience_s=600)


def epoch(number: int, *, step: int = 0, errors_n: int = 0, requests_n: int = 100) -> Epoch:
    share = RAMP.shares_ppm[step]
    old_n = round(requests_n * (1_000_000 - share) / share)
    return Epoch(
        number=number,
        step=step,
        shares_ppm={"new": share, "old": 1_000_000 - share},
        arms={
            "new": ArmCounts(requests_n, requests_n, requests_n, events={ERROR_RATE: errors_n}),
            "old": ArmCounts(old_n, old_n, old_n, events={}),
        },
    )


def walked(course: Course, epochs: list[Epoch], rule: Rule = RULE) -> Course:
    """As the loop does: what moved is live before the next epoch is read."""
    for each in epochs:
        course = after_epoch(course, [each], rule, RAMP)
        course = published(course, course.state)
    return course


def test_a_sound_candidate_climbs_to_the_end() -> None:
    """Three epochs at the first step and three at the next, then proof."""
    course = walked(enter(RULE, RolloutState()), [epoch(number) for number in range(1, 4)])
    assert (1, Phase.BAKING) == (course.state.step, course.state.phase)

    course = walked(course, [epoch(number, step=1) for number in range(4, 7)])
    assert Phase.PROMOTED is course.state.phase


def test_a_failing_candidate_is_taken_back_by_the_third_epoch_that_tells() -> None:
    """A burst may touch two."""
    course = walked(enter(RULE, RolloutState()), [epoch(number, errors_n=60) for number in (1, 2)])
    assert (Phase.BAKING, 0) == (course.state.phase, course.state.step)

    course = walked(course, [epoch(3, errors_n=60)])
    assert Phase.ROLLED_BACK is course.state.phase
    assert ERROR_RATE == course.judgement.guardrail


def test_nobody_climbs_while_a_suspicion_waits_for_more() -> None:
    """Two epochs condemn nobody, however bad they are, but at a short stay they must not let anybody climb either."""
    ramp = replace(RAMP, bakes_s=())
    course = enter(RULE, RolloutState())
    for number in (1, 2):
        course = after_epoch(course, [epoch(number, errors_n=8)], RULE, ramp)

    assert (Phase.BAKING, 0) == (course.state.phase, course.state.step)
    assert "error_rate looks worse than its bound" == course.judgement.why


def test_a_restart_in_the_middle_finds_the_same_evidence_and_the_same_step() -> None:
    """The E values are those of the closed epochs, and the stay has lasted as long."""
    epochs = [epoch(number, errors_n=number % 2) for number in range(1, 4)] + [epoch(4, step=1)]
    lived = walked(enter(RULE, RolloutState()), epochs)
    again = walked(enter(RULE, lived.live), epochs)

    assert (lived.evidence, lived.judgement) == (again.evidence, again.judgement)
    assert (lived.state.step, lived.state.phase, lived.state.baked_s) == (
        again.state.step,
        again.state.phase,
        again.state.baked_s,
    )


def test_the_evidence_of_another_step_lets_nobody_climb_from_this_one() -> None:
    """Right after a step everything still looks well, but of the new share nothing is known."""
    ramp = replace(RAMP, bakes_s=())
    course = after_epoch(enter(RULE, RolloutState()), [epoch(1)], RULE, ramp)
    course = published(course, course.state)
    assert 1 == course.state.step

    assert (1, Phase.BAKING) == ((now := after_pause(course, 2, 20, ramp).state).step, now.phase)
    assert 1 == after_look(course, ramp).state.step


def test_an_epoch_of_an_earlier_step_still_condemns() -> None:
    """Somebody moved it by hand; what comes in late about the step before says harm."""
    course = walked(enter(RULE, RolloutState()), [epoch(1, errors_n=90), epoch(2, errors_n=90)])
    course = published(course, move(course.state, Event(Verb.ADVANCE, now_s=35.0), RAMP))
    course = walked(course, [epoch(3, step=0, errors_n=90)])

    assert Phase.ROLLED_BACK is course.state.phase


def test_an_epoch_in_two_parts_is_ten_seconds() -> None:
    parts = [epoch(1, requests_n=10), epoch(1, requests_n=10)]
    assert 10.0 == after_epoch(enter(RULE, RolloutState()), parts, RULE, RAMP).state.baked_s


def test_the_epoch_in_which_a_step_begins_condemns_at_its_end_and_is_no_part_of_the_stay() -> None:
    """Its second part tells of the new step already, and nobody waits for the next epoch to hear it."""
    course = walked(enter(RULE, RolloutState()), [epoch(number) for number in range(1, 4)])
    parts = [epoch(4, requests_n=30), epoch(4, step=1, requests_n=70)]
    assert (1, 0.0) == ((sound := after_epoch(course, parts, RULE, RAMP).state).step, sound.baked_s)

    rule = replace(RULE, bounds=(replace(RULE.bounds[0], form=Form.EVENTS),))
    course = walked(enter(rule, course.live), [epoch(number) for number in range(1, 4)], rule)
    parts[1] = epoch(4, step=1, requests_n=70, errors_n=60)
    assert (Phase.ROLLED_BACK, 50.0) == ((bad := after_epoch(course, parts, rule, RAMP).state).phase, bad.last_tick_s)


def test_a_stay_goes_on_through_a_hold() -> None:
    """The share was the same all the time, and so were the requests."""
    course = walked(enter(RULE, RolloutState()), [epoch(1)])
    course = published(course, move(course.live, Event(Verb.HOLD, now_s=25.0), RAMP))
    course = walked(course, [epoch(2), epoch(3)])
    assert (Phase.HELD, 30.0) == (course.state.phase, course.state.baked_s)

    course = published(course, move(course.live, Event(Verb.RESUME, now_s=41.0), RAMP))
    assert 1 == after_look(course, RAMP).state.step


def test_silence_ends_patience_at_the_end_of_an_epoch_and_nothing_else() -> None:
    course = after_pause(enter(RULE, RolloutState(last_tick_s=1000.0)), 100, 159, RAMP)
    assert Phase.BAKING is course.state.phase

    course = after_pause(course, course.unread, 170, RAMP)
    assert (Phase.HELD, 0, 1600.0) == (course.state.phase, course.state.step, course.state.last_tick_s)


def test_of_a_long_silence_a_rollout_that_waits_for_people_is_told_in_one_step() -> None:
    """Observations may lie years apart, by a mistake in their unit or not, and each epoch between them costs time."""
    held = move(RolloutState(last_tick_s=1000.0), Event(Verb.HOLD, now_s=1000.0), RAMP)
    course = after_pause(enter(RULE, held), 100, 10**12, RAMP)

    assert (Phase.HELD, 1e13) == (course.state.phase, course.state.last_tick_s)
    assert after_pause(course, 10**12, 10**12, RAMP) == course


def test_silence_is_told_once_however_often_one_looks() -> None:
    course = enter(RULE, RolloutState(last_tick_s=1000.0))
    for number in range(100, 130):
        course = after_look(after_pause(course, course.unread, number, RAMP), RAMP)
    assert after_pause(enter(RULE, RolloutState(last_tick_s=1000.0)), 100, 129, RAMP) == course


def twinned(number: int, *, twin: float = 0.0, old: float = 0.0, new_n: int = 0) -> Epoch:
    """Two copies of the baseline with these rates of errors, and so many errors of the candidate."""
    bad = {"new": new_n, "old@twin": round(100 * twin), "old": round(800 * old)}
    arms = {
        name: ArmCounts(n, n, n, events={ERROR_RATE: bad[name]})
        for name, n in {"new": 100, "old@twin": 100, "old": 800}.items()
    }
    return Epoch(number, 0, {"new": 100_000, "old@twin": 100_000, "old": 800_000}, arms)


TWINNED = replace(RULE, baseline="old@twin", rest="old")


def test_beside_a_twin_that_is_broken_nobody_climbs() -> None:
    """Anybody would look well beside it. It may be slow, and fail as the baseline does."""
    course = walked(
        enter(TWINNED, RolloutState()), [twinned(number, twin=0.5, new_n=2) for number in range(1, 7)], TWINNED
    )
    assert (0, "old@twin fails more often than old, of which it is a copy") == (course.state.step, course.judgement.why)

    sound = [twinned(number, twin=0.05, old=0.05, new_n=2) for number in range(1, 5)]
    assert 1 == walked(enter(TWINNED, RolloutState()), sound, TWINNED).state.step


def test_a_twin_that_failed_while_it_was_fresh_holds_nobody_for_long() -> None:
    """A few errors of its first seconds are outweighed by those of all."""
    fresh = [twinned(1, twin=0.12, old=0.01), *(twinned(n, twin=0.01, old=0.01, new_n=1) for n in range(2, 30))]
    course = walked(enter(TWINNED, RolloutState()), fresh[:3], TWINNED)
    assert 0 == course.state.step
    assert 1 == walked(course, fresh[3:], TWINNED).state.step


def test_a_candidate_that_harms_goes_back_beside_a_broken_twin_too() -> None:
    """If only it is worse than that."""
    rule = replace(TWINNED, bounds=(replace(RULE.bounds[0], form=Form.EVENTS),))
    harmful = [twinned(number, twin=0.3, new_n=95) for number in (1, 2)]
    assert Phase.ROLLED_BACK is walked(enter(rule, RolloutState()), harmful, rule).state.phase
