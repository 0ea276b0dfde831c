"""The next revision follows from the live one and a change, and from nothing else."""

from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.contents import Contents
from gateway.config.problems import ConfigRefused
from gateway.publishing.change import Apply, ChangeRefused, Conduct, Expire, Freeze, Operate
from gateway.publishing.kept import read, write
from gateway.publishing.prepare import meaning_of, nothing_yet, prepare
from gateway.state.revision import Cause, Revision
from strategies.core.state import Phase, RolloutState
from strategies.rollout.machine import Verb
from tests.gateway.conftest import TODAY, documents, ramp

APPLY = Apply(documents())


def shares(meaning) -> dict[str, int]:
    return {plan.assigned.name: plan.share_ppm for plan in meaning.routes["digits"].plans if plan.assigned}


def stored(meaning) -> Revision:
    return Revision(meaning.number, "", 0.0, "ann", Cause.APPLY, "", meaning.content)


def test_the_first_revision_begins_every_experiment(after):
    meaning = after(APPLY)
    assert (1, 1, RolloutState()) == (meaning.number, meaning.kept["digits"].began, meaning.kept["digits"].rollout)


def test_a_step_adds_units_and_keeps_the_experiment(root, after):
    live = after(APPLY)
    prepared = prepare(live, Operate("digits", Verb.ADVANCE, "no harm"), today=TODAY, contents=Contents())
    (difference,) = prepared.differences
    assert [("old", "new", 80_000)] == [(move.source, move.target, move.ppm) for move in difference.moves]
    assert (1, RolloutState(1, reason="no harm")) == (
        prepared.meaning.kept["digits"].began,
        prepared.meaning.kept["digits"].rollout,
    )


def test_a_change_of_the_layers_alone_is_a_change_of_every_route(root, after):
    """A route whose own document says the same is served anew, or the holdout would hold nobody."""
    live = after(APPLY)
    held = Apply(documents() | {"layers.yaml": "holdout: {share: 2%}\n"})
    prepared = prepare(live, held, today=TODAY, contents=Contents())
    (difference,) = prepared.differences
    assert ("2% of all units are held out: they get the baseline",) == difference.words
    assert live.routes["digits"].fingerprint != prepared.meaning.routes["digits"].fingerprint
    again = meaning_of(stored(prepared.meaning), root)
    assert prepared.meaning.routes["digits"].fingerprint == again.routes["digits"].fingerprint
    assert prepared.meaning.routes["digits"].decider.gates == again.routes["digits"].decider.gates


def test_a_base_is_stored_with_the_routes_that_extend_it(root, after):
    """A revision is whole: nothing it means lies anywhere else."""
    base = documents()["routes/digits.yaml"].replace("route: digits\n", "")
    texts = {"bases/b.yaml": base, "routes/digits.yaml": "extends: bases/b.yaml\nroute: digits\n"}
    live = after(Apply(texts))
    assert texts == dict(live.content.documents)
    assert meaning_of(stored(live), root).configuration.routes == live.configuration.routes


@given(
    st.lists(st.sampled_from([*Verb]), max_size=8), st.lists(st.sampled_from(("1%", "2%", "10%", "50%")), max_size=3)
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_stored_means_the_same_when_it_is_read(root, verbs, edits):
    """A gateway that boots from the store, or another one that follows it, deals every unit as the publisher did."""
    live = prepare(nothing_yet(root), APPLY, today=TODAY, contents=Contents()).meaning
    changes = [Operate("digits", verb) for verb in verbs]
    changes += [Apply(documents(strategy=ramp(share, "60%"))) for share in edits]
    for change in changes:
        try:
            live = prepare(live, change, today=TODAY, contents=Contents()).meaning
        except ChangeRefused:
            continue
        again = meaning_of(stored(live), root)
        one, other = live.routes["digits"], again.routes["digits"]
        assert one.decider.allocation == other.decider.allocation
        assert (one.plans, one.fingerprint, one.arms) == (other.plans, other.fingerprint, other.arms)
        assert (live.kept, live.for_all) == (again.kept, again.for_all)


def test_a_verb_that_is_not_possible_says_what_is(after):
    with pytest.raises(ChangeRefused, match="cannot resume: the rollout is climbing; possible: advance"):
        after(APPLY, Operate("digits", Verb.RESUME))


def test_a_route_without_a_ramp_has_nothing_to_advance(after):
    ab = Apply(documents(strategy={"kind": "ab", "shares": {"new": "10%"}}))
    with pytest.raises(ChangeRefused, match="'digits' is under 'ab', which has no ramp; change its document"):
        after(ab, Operate("digits", Verb.ADVANCE))


def test_a_verb_on_no_route_names_those_there_are(after):
    with pytest.raises(ChangeRefused, match="no route is called 'digit'; there is digits"):
        after(APPLY, Operate("digit", Verb.HOLD))


def test_a_restart_of_no_route_names_those_there_are(after):
    with pytest.raises(ChangeRefused, match="no route is called 'digit'; there is digits"):
        after(Apply(documents(), restart=frozenset(["digit"])))


def test_an_edited_ramp_keeps_the_live_share(after):
    edited = Apply(documents(strategy=ramp("1%", "2%", "10%", "20%")))
    meaning = after(APPLY, Operate("digits", Verb.ADVANCE), edited)
    assert (2, 1) == (meaning.kept["digits"].rollout.step, meaning.kept["digits"].began)
    assert {"new": 100_000, "old": 900_000} == shares(meaning)


def test_an_edited_ramp_without_the_live_share_is_refused(after):
    with pytest.raises(ChangeRefused, match="its live step is 10%, which is not in the new ramp; keep a step"):
        after(APPLY, Operate("digits", Verb.ADVANCE), Apply(documents(strategy=ramp("1%", "20%"))))


def test_another_hash_deals_afresh_in_a_new_experiment(after):
    """The map's points would stand for other units, so what is kept says by which hash they were dealt."""
    wide = {"kind": "ab", "shares": {"new": "50%"}}
    ours = after(Apply(documents(strategy=wide))).kept["digits"]
    theirs = after(Apply(documents(strategy=wide)), Apply(documents(strategy=wide, hash="murmur3-flagd", salt="f")))

    assert (("digits/0", "x-turnout-unit", "", "sha256"), 1) == (ours.dealt, ours.began)
    assert (("f", "x-turnout-unit", "", "murmur3-flagd"), 2) == (
        theirs.kept["digits"].dealt,
        theirs.kept["digits"].began,
    )


def test_what_was_kept_before_there_was_a_choice_of_hashes_is_read(after):
    kept = after(APPLY).kept["digits"]
    older = write(kept).replace(',"sha256"]', "]")

    assert read(older).dealt == kept.dealt[:3]
    assert read(older).allocation() == kept.allocation()


def test_a_restart_begins_at_the_first_step_with_a_new_experiment(after):
    edited = Apply(documents(strategy=ramp("1%", "20%")), restart=frozenset(["digits"]))
    kept = after(APPLY, Operate("digits", Verb.ADVANCE), edited).kept["digits"]
    assert (RolloutState(), 3) == (kept.rollout, kept.began)


def test_a_rollback_is_latched_for_that_candidate(after):
    """An edit of a timeout, or an undo, must not send traffic back to a candidate that was taken back."""
    meaning = after(APPLY, Operate("digits", Verb.ROLLBACK), Apply(documents(timeout="2s")))
    assert Phase.ROLLED_BACK is meaning.kept["digits"].rollout.phase
    assert {"new": 0, "old": 1_000_000} == shares(meaning)


def test_another_model_file_under_the_same_name_is_another_candidate(root, after):
    live = after(APPLY, Operate("digits", Verb.ROLLBACK))
    (root / "new.onnx").write_text("mended, and longer")
    kept = prepare(live, APPLY, today=TODAY, contents=Contents()).meaning.kept["digits"]
    assert (RolloutState(), 3) == (kept.rollout, kept.began)


def test_an_unrelated_change_keeps_the_experiment_and_the_print(after):
    one = after(APPLY)
    other = after(APPLY, Apply(documents() | {"routes/two.yaml": documents(route="two")["routes/digits.yaml"]}))
    assert 1 == other.kept["digits"].began
    assert 2 == other.kept["two"].began
    assert one.routes["digits"].fingerprint == other.routes["digits"].fingerprint


def test_bad_documents_are_refused_whole(after):
    with pytest.raises(ConfigRefused, match="no arm is called 'nwe'"):
        after(APPLY, Apply(documents(fallback=["nwe"])))


@pytest.mark.parametrize("change", [APPLY, Operate("digits", Verb.ADVANCE), Operate("digits", Verb.PROMOTE)])
def test_frozen_means_that_nothing_changes(after, change):
    with pytest.raises(ChangeRefused, match="everything is frozen: it is Christmas; lift it with: turnout freeze"):
        after(APPLY, Freeze("it is Christmas"), change)


@pytest.mark.parametrize("verb", [Verb.ROLLBACK, Verb.HOLD])
def test_what_makes_traffic_safer_is_possible_while_frozen(after, verb):
    assert "it is Christmas" == after(APPLY, Freeze("it is Christmas"), Operate("digits", verb)).for_all.frozen


def test_a_lifted_freeze_lets_changes_through(after):
    assert 4 == after(APPLY, Freeze("no"), Freeze(""), Operate("digits", Verb.ADVANCE)).number


def test_an_expired_experiment_goes_back_to_the_baseline(root, after):
    live = after(Apply(documents(expires=date(2026, 11, 27))))
    assert {"new": 20_000, "old": 980_000} == shares(live)
    gone = prepare(live, Expire(), today=date(2026, 11, 27), contents=Contents()).meaning
    assert {"old": 1_000_000} == shares(gone)
    assert "expired on 2026-11-27" in meaning_of(stored(gone), root).routes["digits"].notice


def test_a_candidate_that_comes_back_by_another_way_is_still_taken_back(root, after):
    """Neither an undo nor another candidate in between revives it; only a restart does."""
    new = (root / "new.onnx").read_text()
    live = after(APPLY, Operate("digits", Verb.ROLLBACK, "errors"))
    (root / "new.onnx").write_text("mended, and longer")
    live = prepare(live, APPLY, today=TODAY, contents=Contents()).meaning
    assert Phase.BAKING is live.kept["digits"].rollout.phase

    (root / "new.onnx").write_text(new)
    live = prepare(live, APPLY, today=TODAY, contents=Contents()).meaning
    assert (Phase.ROLLED_BACK, "errors") == (live.kept["digits"].rollout.phase, live.kept["digits"].rollout.reason)
    assert {"new": 0, "old": 1_000_000} == shares(live)

    live = prepare(live, Operate("digits", Verb.RESTART), today=TODAY, contents=Contents()).meaning
    live = prepare(live, Operate("digits", Verb.HOLD), today=TODAY, contents=Contents()).meaning
    assert (Phase.HELD, {}) == (live.kept["digits"].rollout.phase, live.for_all.latched)


def test_a_route_that_was_gone_for_a_while_has_forgotten_nothing(root, after):
    other = documents()["routes/digits.yaml"].replace("route: digits", "route: other")
    live = after(APPLY, Operate("digits", Verb.ROLLBACK, "errors"), Apply({"routes/other.yaml": other}), APPLY)

    assert (Phase.ROLLED_BACK, "errors") == (live.kept["digits"].rollout.phase, live.kept["digits"].rollout.reason)


def test_what_the_gateway_asks_for_by_itself_is_where_the_rollout_stands(after):
    state = RolloutState(1, Phase.HELD, "unsure", baked_s=600.0, slow_s=(0.01, 0.02, 0.05))
    live = after(APPLY, Conduct("digits", state))

    assert (state, 1) == (live.kept["digits"].rollout, live.kept["digits"].began)
    assert {"new": 100_000, "old": 900_000} == shares(live)


@pytest.mark.parametrize("phase", list(Phase))
def test_while_everything_is_frozen_a_candidate_is_still_taken_back(after, phase):
    """And held; nothing climbs, and nothing asks to."""
    asked = Conduct("digits", RolloutState(0, phase))
    if phase in (Phase.ROLLED_BACK, Phase.HELD):
        assert phase is after(APPLY, Freeze("Christmas"), asked).kept["digits"].rollout.phase
    else:
        with pytest.raises(ChangeRefused, match="everything is frozen: Christmas"):
            after(APPLY, Freeze("Christmas"), asked)


def test_a_rollout_knows_who_began_it(root, after):
    """Who that is may not approve it."""
    known = {"today": TODAY, "contents": Contents()}
    cautious = Apply(documents(strategy=ramp("2%", "50%") | {"approve_above": "2%"}))
    live = prepare(nothing_yet(root), cautious, **known, author="ann").meaning
    with pytest.raises(ChangeRefused, match="ann began this rollout; somebody other than ann has to approve it"):
        prepare(live, Operate("digits", Verb.APPROVE), **known, author="ann")
    with pytest.raises(ChangeRefused, match="50% is above 2%, which takes an approval; somebody other than ann"):
        prepare(live, Operate("digits", Verb.ADVANCE), **known, author="ann")

    live = prepare(live, Operate("digits", Verb.APPROVE), **known, author="bob").meaning
    assert ("ann", "bob", 0) == tuple(
        getattr(live.kept["digits"].rollout, each) for each in ("author", "approver", "step")
    )
    live = prepare(live, Operate("digits", Verb.ADVANCE), **known, author="ann").meaning
    assert {"new": 500_000, "old": 500_000} == shares(live)
    live = prepare(live, Operate("digits", Verb.RESTART), **known, author="bob").meaning
    assert ("bob", "") == (live.kept["digits"].rollout.author, live.kept["digits"].rollout.approver)


def test_nobody_begins_beyond_what_takes_an_approval(after):
    """A gateway that is started at a step of a ramp is no way around it."""
    cautious = documents(strategy=ramp("2%", "50%") | {"approve_above": "2%"})
    with pytest.raises(ChangeRefused, match="step 2 has 50%, which takes an approval; begin lower and approve"):
        after(Apply(cautious, steps={"digits": 2}))
