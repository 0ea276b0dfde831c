"""A rollout on a virtual clock: the live code, and only what the observations say."""

import json
import random
from collections import Counter

import msgspec
import pytest

from gateway.simulation.observations import Observation, Recorded, read_lines
from gateway.simulation.run import Final, OutOfOrder, Run
from strategies.core.assignment import unit_bytes
from strategies.evidence.epochs import ERROR_RATE, INVALID_OUTPUT, RUN_ERRORS
from tests.gateway.simulation.conftest import as_lines, requests


def play(setup, observations):
    """All lines of one run."""
    run = Run("r", setup)
    for _, seen in read_lines(as_lines(observations), "-"):
        if not run.is_over:
            run.observe(seen)
    run.end()
    return run.take()


def epochs_of(setup, observations):
    """The epochs that a run counts."""
    run, found = Run("r", setup), []
    close = run._counted.close
    run._counted.close = lambda number: found.append(close(number)) or found[-1]
    for _, seen in read_lines(as_lines(observations), "-"):
        run.observe(seen)
    run.end()
    return [epoch for epoch in found if epoch]


def unit_of(setup, arm: str, start: int = 0) -> str:
    """A unit that meets this arm at the first step."""
    route = setup.compiled(Run("r", setup)._course.state)
    number = start
    while route.decider.allocation.at(route.point_of(unit_bytes(f"u{number}"))).assigned.name != arm:
        number += 1
    return f"u{number}"


def test_a_candidate_that_is_no_worse_climbs_and_is_promoted(setup):
    *lines, final = play(setup(), requests("r", 40_000))
    moves = [line.move for line in lines if line.move]

    assert moves == ["advance", "promote"]
    assert (final.final, lines[-1].phase, lines[-1].share_ppm) == ("promoted", "promoted", 1_000_000)
    assert [line.step for line in lines if line.move == "advance"] == [2]
    assert final.n < 40_000  # what comes after the promotion is nobody's evidence


def test_a_candidate_that_is_worse_is_rolled_back_with_its_reason(setup):
    *lines, final = play(setup(), requests("r", 40_000, harm=8.0))
    last = lines[-1]

    assert (last.move, last.phase, last.verdict, last.guardrail) == ("rollback", "rolled_back", "fail", "error_rate")
    assert (last.share_ppm, last.log_e > 4.6) == (0, True)
    assert (final.final, final.t, final.n) == ("rolled_back", last.t, last.n)


def test_harm_that_begins_late_is_caught_too(setup):
    lines = play(setup(("bake: 30s}]", "bake: 10m}]")), requests("r", 40_000, harm=8.0, after_s=100.0))
    assert [line.move for line in lines[:-1] if line.move] == ["advance", "rollback"]
    assert lines[-1].t > 100.0


def test_too_little_traffic_ends_held_and_an_end_too_soon_is_running(setup):
    patient = setup(("guardrails:", "patience: 2m\n  guardrails:"))
    assert [line.final for line in play(patient, requests("r", 200, rate=1.0)) if isinstance(line, Final)] == ["held"]
    assert [type(line) for line in play(setup(), requests("r", 300))].count(Final) == 1
    assert play(setup(), requests("r", 300))[-1].final == "running"


def test_silence_between_requests_lets_patience_run_out(setup):
    patient = setup(("guardrails:", "patience: 2m\n  guardrails:"))
    stream = [*requests("r", 100, rate=10.0), *requests("r", 1, start=5_000.0)]
    final = play(patient, stream)[-1]
    assert final.final == "held"


def test_every_line_is_a_changed_verdict_or_a_move(setup):
    *lines, _ = play(setup(), requests("r", 20_000))
    before = ""
    for line in lines:
        assert line.move or line.verdict != before
        before = line.verdict


def test_when_requests_come_within_an_epoch_changes_nothing(setup):
    """Epochs are functions of t alone."""
    observations = list(requests("r", 30_000, harm=4.0))
    shuffled = sorted(observations, key=lambda each: (each["t"] // 10, each["unit"]))
    assert play(setup(), observations) == play(setup(), shuffled)


def test_a_clock_of_our_own_or_of_unix_is_the_same(setup):
    early = play(setup(), requests("r", 30_000, harm=4.0))
    late = play(setup(), requests("r", 30_000, harm=4.0, start=1_790_000_000.0))
    assert [(line.n, line.t + 1_790_000_000) for line in early] == [(line.n, line.t) for line in late]


def test_a_unit_that_met_the_candidate_meets_it_still(setup):
    """At each step the counts are those of the same map that a gateway would serve by."""
    observations = list(requests("r", 30_000, errors=0.0))
    seen: dict[str, set[str]] = {}
    run = Run("r", setup(("no_worse_than: 3x", "no_worse_than: 50x")))
    for number, each in enumerate(observations):
        run.observe(Observation("r", each["t"], f"u{number % 500}"))
        if run.is_over:
            break
        arm = run._route.decider.plan_for(run._facts_of(Observation("r", 0, f"u{number % 500}"))).assigned.name
        seen.setdefault(f"u{number % 500}", set()).add(arm)
    both = [unit for unit, arms in seen.items() if arms == {"old", "new"}]
    assert run._course.state.step >= 1
    assert 100 < len(both) < 300  # those between 10 % and 50 %


def test_what_came_of_a_request_is_told_by_the_arm_it_met(setup):
    made = setup()
    old, new = unit_of(made, "old"), unit_of(made, "new")
    by_arm = {"new": {"ok": False, "latency_ms": 7.0, "metrics": {"score": 2.0}}}
    common = {"run": "r", "t": 1.0, "latency_ms": 5.0, "metrics": {"score": 1.0}, "by_arm": by_arm}
    (epoch,) = epochs_of(made, [{**common, "unit": old}, {**common, "unit": new}])

    assert (dict(epoch.arms["old"].events), dict(epoch.arms["new"].events)) == ({}, {ERROR_RATE: 1, "fallback_rate": 1})
    assert [epoch.arms[arm].values["score"].sum for arm in ("old", "new")] == [1.0, 2.0]
    assert [epoch.arms[arm].values["latency_s"].sum for arm in ("old", "new")] == pytest.approx([0.005, 0.007])


def test_an_action_is_a_bad_event_of_the_arm_that_answered(setup):
    """Whether an answer would be one, the observation says: there is no model here to ask."""
    made = setup()
    new = {"run": "r", "t": 1.0, "unit": unit_of(made, "new"), "by_arm": {"new": {"metrics": {"action:block": 1}}}}
    failed = {"run": "r", "t": 1.0, "ok": False, "metrics": {"action:block": 1}}
    (epoch,) = epochs_of(made, [new, new, new | {"by_arm": {}}, failed])
    events = sum((Counter(arm.events) for arm in epoch.arms.values()), Counter())
    assert (1, 1) == (events["action:block"], events["error_rate"])
    assert {} == epoch.arms["new"].values


def test_a_units_errors_count_once_and_those_without_a_unit_each_time(setup):
    made = setup()
    unit = unit_of(made, "old")
    same = [{"run": "r", "t": 1.0, "unit": unit, "ok": False}] * 5
    alone = [{"run": "r", "t": 1.0, "ok": False}] * 5
    (epoch,), (each,) = epochs_of(made, same), epochs_of(made, alone)

    assert (epoch.arms["old"].events[ERROR_RATE], epoch.arms["old"].units_n) == (1, 1)
    assert sum(arm.events[ERROR_RATE] for arm in each.arms.values()) == 5


def test_a_run_that_was_lost_as_a_whole_is_one_fault_of_a_run(setup):
    """In a batch of which some succeeded the others failed each by themselves."""
    made = setup()
    units = [unit_of(made, "new")]
    while len(units) < 8:
        units.append(unit_of(made, "new", int(units[-1][1:]) + 1))
    lost = [{"run": "r", "t": 1.0, "unit": unit, "ok": False, "batch": "lost"} for unit in units[:4]]
    mixed = [{"run": "r", "t": 1.0, "unit": u, "ok": u != units[4], "batch": 2} for u in units[4:]]
    (epoch,) = epochs_of(made, lost + mixed)
    new = epoch.arms["new"]

    assert (new.requests_n, new.runs_n) == (8, 2)
    assert (new.events[RUN_ERRORS], new.events[ERROR_RATE]) == (1, 1)


def test_invalid_output_and_withheld_requests_are_told_by_their_names(setup):
    made = setup()
    unit = unit_of(made, "new")
    (epoch,) = epochs_of(
        made,
        [
            {"run": "r", "t": 1.0, "unit": unit, "metrics": {INVALID_OUTPUT: 1}},
            {"run": "r", "t": 1.0, "unit": unit, "withheld": True},
        ],
    )
    new = epoch.arms["new"]
    assert (new.events[INVALID_OUTPUT], ERROR_RATE in new.events, new.withheld_n, new.requests_n) == (1, False, 1, 1)


def test_a_slower_candidate_is_seen_by_thresholds_of_the_past(setup):
    """At the first step as soon as a past has been measured to be slow against."""
    slow = setup(("metric: error_rate, no_worse_than: 3x", "metric: latency, no_worse_than: 3x"))

    def stream():
        for number, each in enumerate(requests("r", 40_000, errors=0.0)):
            yield {**each, "latency_ms": 10 + number % 17, "by_arm": {"new": {"latency_ms": 40 + number % 17}}}

    *lines, final = play(slow, stream())
    assert (final.final, lines[-1].guardrail, lines[-1].step) == ("rolled_back", "latency", 1)


def test_the_epochs_of_a_ledger_give_what_the_requests_gave(setup):
    """What was counted, written down and read again leads to the same moves at the same times."""
    for harm in (1.0, 6.0):
        observations = list(requests("r", 30_000, harm=harm))
        expected = play(setup(), observations)
        again = Run("r", setup())
        for epoch in epochs_of(setup(), observations):
            line = json.dumps({"experiment": "r", "epoch": msgspec.to_builtins(epoch)}).encode()
            ((_, recorded),) = read_lines([line], "-")
            assert isinstance(recorded, Recorded)
            if not again.is_over:
                again.fold(recorded.epoch)
        again.end()
        assert [(line.t, line.n) for line in again.take()] == [(line.t, line.n) for line in expected]


def test_time_does_not_run_backwards(setup):
    run = Run("r", setup())
    run.observe(Observation("r", 25.0))
    run.observe(Observation("r", 21.0))
    with pytest.raises(OutOfOrder, match="in the order of time"):
        run.observe(Observation("r", 19.0))


def test_identical_arms_are_rolled_back_as_seldom_as_promised(setup):
    """Thirty runs at an alpha of 5 %, and a base rate that rises during the ramp."""
    made = setup(("guardrails:", "alpha: 0.05\n  guardrails:"), ("no_worse_than: 3x", "no_worse_than: 1.5x"))
    finals = Counter(
        play(
            made,
            [
                *requests(f"{n}", 4_000, errors=0.01, seed=n),
                *requests(f"{n}", 4_000, errors=0.03, seed=n, start=40.0),
            ],
        )[-1].final
        for n in range(30)
    )
    assert finals["rolled_back"] <= 30 * 0.05 + 3 * (30 * 0.05 * 0.95) ** 0.5


def warming(run: object, count: int, warm_s: float):
    """Requests of which an arm that was just opened answers a third five times as slowly for a while, and some not."""
    chance = random.Random(f"{run}")
    for number in range(count):
        t, draw, took_ms = number / 100, chance.random(), chance.uniform(5.0, 10.0)
        line = {"run": run, "t": t, "unit": f"{run}-{number}", "ok": draw >= 0.01, "latency_ms": took_ms}
        if t < warm_s:
            fresh = {"ok": draw >= 0.05, "latency_ms": took_ms * (5 if draw < 1 / 3 else 1)}
            line["by_arm"] = {"new": fresh, "old@twin": fresh}
        yield line


@pytest.mark.parametrize(("twin", "finals"), [("false", {"rolled_back"}), ("true", {"promoted", "running"})])
def test_a_candidate_whose_only_fault_is_to_be_fresh_is_taken_back_unless_it_has_a_twin(setup, twin, finals):
    """A cold cache is no harm of the model's: its twin has it, too."""
    guarded = "[{metric: error_rate, no_worse_than: 3x}, {metric: latency, no_worse_than: 3x}]"
    words = ("guardrails: [{metric: error_rate, no_worse_than: 3x}]", f"guardrails: {guarded}\n  twin: {twin}")
    found = {play(setup(words), warming(run, 60_000, 120.0))[-1].final for run in range(3)}

    assert found <= finals


def test_what_is_said_of_the_baseline_is_said_of_its_twin(setup):
    """Files that know nothing of twins can be walked with one."""
    twinned = setup(("guardrails:", "twin: true\n  guardrails:"))
    stream = [{**line, "ok": True, "by_arm": {"old": {"ok": False}}} for line in requests("r", 1_000)]
    (epoch,) = epochs_of(twinned, stream)

    assert {"new", "old@twin", "old"} == set(epoch.arms)
    assert {"new": 0, "old@twin": 1, "old": 1} == {
        name: counts.events.get(ERROR_RATE, 0) / counts.requests_n for name, counts in epoch.arms.items()
    }


def test_in_which_slices_the_candidate_differs_is_told_at_the_end_and_moves_nothing(setup):
    """Harm in one country, which three others make up for."""
    words = ("guardrails:", "slices: {country: [nz, au]}\n  guardrails:")
    sliced = setup(words, ("strategy:", "attributes: {country: {header: x-country}}\nstrategy:"))
    stream = []
    for number, line in enumerate(requests("r", 20_000, errors=0.02)):
        country = ("nz", "au", "fr", "")[number % 4]
        fails = country == "nz" and (number // 4) % 12 == 0
        stream.append({**line, "by_arm": {"new": {"ok": not fails}}, "attributes": {"country": country}})
    *lines, final = play(sliced, stream)
    *same, plain = play(setup(), stream)
    found = {each["slice"]: [one["metric"] for one in each["contrasts"] if one["differs"]] for each in final.slices}

    assert (lines, plain.slices) == (same, [])
    assert list(found) == ["country=nz", "country=au", "country=other"]
    assert "error_rate" in found["country=nz"]
    assert sum(each["requests"][0] for each in final.slices) > 0
