"""The rule: who is condemned, who waits, who may climb, who may take over."""

import pytest
from msgspec import msgpack

from strategies.evidence.epochs import ERROR_RATE, INVALID_OUTPUT, RUN_ERRORS, ArmCounts
from strategies.evidence.rule import Evidence, Form, Verdict, fold, judge, start
from tests.strategies.evidence.streams import arm, epoch, events_bound, folded, rule_of


def verdict(rule, epochs):
    return judge(rule, folded(rule, epochs)).verdict


def calm(number, **terms):
    """Ten seconds at 20 requests a second, 1 % of them bad, for both arms."""
    return epoch(number, arm(100, 1, units_n=100), arm(100, 1, units_n=100), **terms)


def test_without_a_single_request_nothing_is_known():
    rule = rule_of()
    found = judge(rule, start(rule))
    assert (found.verdict, found.missing_n) == (Verdict.UNSURE, 300)


def test_the_requests_that_are_missing_are_counted_on_this_step():
    rule = rule_of(n_min=300)
    found = judge(rule, folded(rule, [calm(1), calm(2), calm(3, step=1)]))
    assert (found.verdict, found.missing_n) == (Verdict.UNSURE, 200)
    assert "200 more requests" in found.why


def test_enough_requests_without_a_warning_are_clear():
    rule = rule_of()
    assert verdict(rule, [calm(number) for number in range(3)]) is Verdict.CLEAR


def test_a_candidate_that_fails_wholly_is_condemned_by_one_epoch():
    rule = rule_of()
    found = judge(rule, folded(rule, [epoch(1, arm(20, 20), arm(380, 4), share=0.05)]))
    assert (found.verdict, found.guardrail) == (Verdict.FAIL, ERROR_RATE)
    assert found.readings[0].log_e > rule.condemns_at


def test_a_candidate_that_fails_after_a_long_good_past_is_condemned_by_the_next_epoch():
    rule = rule_of()
    good = folded(rule, [calm(number) for number in range(2000)])
    assert judge(rule, good).verdict in (Verdict.CLEAR, Verdict.PROVEN)
    assert judge(rule, fold(rule, good, epoch(2000, arm(100, 100), arm(100, 1)))).verdict is Verdict.FAIL


def test_what_strikes_both_arms_condemns_nobody():
    rule = rule_of()
    found = judge(rule, folded(rule, [calm(1), *(epoch(number, arm(100, 90), arm(100, 90)) for number in range(2, 9))]))
    assert found.verdict is not Verdict.FAIL
    assert found.readings[0].log_e < 0


def test_a_candidate_as_good_as_the_baseline_is_proven_in_the_end():
    rule = rule_of()
    assert verdict(rule, [calm(number) for number in range(150)]) is Verdict.PROVEN


def test_without_a_single_bad_event_the_candidates_own_rate_proves_it():
    """A 0 of 2,000 bounds the rate at 0.18 %."""
    clean = [epoch(number, arm(500), arm(500)) for number in range(4)]
    assert verdict(rule_of(events_bound(rate=0.0018)), clean) is Verdict.CLEAR
    assert verdict(rule_of(events_bound(rate=0.0019)), clean) is Verdict.PROVEN


def test_a_warning_keeps_a_candidate_from_climbing():
    rule = rule_of()
    found = judge(rule, folded(rule, [epoch(1, arm(400, 12), arm(400, 1))]))
    assert rule.warns_at <= found.readings[0].log_e < rule.condemns_at
    assert (found.verdict, found.guardrail) == (Verdict.UNSURE, ERROR_RATE)


def test_three_invalid_outputs_condemn_unless_the_baseline_gives_them_too():
    rule = rule_of()
    two, three = arm(100, 2, INVALID_OUTPUT), arm(100, 3, INVALID_OUTPUT)
    assert verdict(rule, [epoch(1, two, arm(100))]) is Verdict.UNSURE
    assert verdict(rule, [epoch(1, three, arm(100))]) is Verdict.FAIL
    assert verdict(rule, [epoch(1, three, arm(100, 1, INVALID_OUTPUT))]) is Verdict.UNSURE


def test_units_that_do_not_arrive_as_their_shares_promise_halt_everything():
    rule = rule_of()
    uneven = [epoch(n, arm(100, 50, units_n=0), arm(100, units_n=100)) for n in range(5)]
    assert verdict(rule, uneven) is Verdict.HALT
    assert judge(rule, folded(rule, [*uneven, *(calm(n) for n in range(5, 200))])).verdict is Verdict.HALT


def test_lost_counts_halt_until_an_epoch_is_whole_again_and_are_no_evidence():
    rule = rule_of()
    lossy = epoch(2, arm(100, 50), arm(100), lost=("a process died",))
    good = folded(rule, [calm(0), calm(1)])
    assert judge(rule, fold(rule, good, lossy)).verdict is Verdict.HALT
    assert fold(rule, good, lossy).series == good.series
    assert judge(rule, folded(rule, [lossy, calm(3)], good)).verdict is Verdict.CLEAR


def test_a_gateway_that_refuses_requests_itself_halts():
    rule = rule_of()
    pressed = epoch(3, arm(90, withheld_n=10), arm(90, withheld_n=10))
    found = folded(rule, [calm(0), calm(1), calm(2), pressed])
    assert judge(rule, found).verdict is Verdict.HALT
    assert judge(rule, fold(rule, found, calm(4))).verdict is Verdict.CLEAR


def test_an_overload_of_the_baseline_alone_is_no_evidence_against_the_candidate():
    rule = rule_of()
    found = folded(rule, [epoch(n, arm(50, 10), arm(250, 50, withheld_n=700), share=0.05) for n in range(50)])
    assert judge(rule, found).verdict is Verdict.HALT
    assert (found.epochs_n, found.passed_over_n) == (0, 50)


def test_a_candidate_that_fails_is_condemned_though_its_requests_are_withheld_meanwhile():
    rule = rule_of()
    assert verdict(rule, [epoch(1, arm(20, 20, withheld_n=80), arm(900, 9), share=0.1)]) is Verdict.FAIL


def test_runs_are_compared_with_runs():
    """A candidate with half of the requests in a fifth of the runs has a fifth of the failed ones: no difference."""
    rule = rule_of(events_bound(RUN_ERRORS))
    counts = [epoch(n, arm(100, 1, RUN_ERRORS, runs_n=10), arm(100, 4, RUN_ERRORS, runs_n=40)) for n in range(100)]
    assert judge(rule, folded(rule, counts)).readings[0].log_e < 0


@pytest.mark.parametrize(("failed_n", "said"), [(6, Verdict.FAIL), (1, Verdict.PROVEN)])
@pytest.mark.parametrize("size", [1, 100, 5000])
def test_lost_runs_say_the_same_however_many_requests_shared_them(size, failed_n, said):
    """Of five hundred runs in an epoch the baseline loses one, and the candidate one or six."""
    rule = rule_of(events_bound(RUN_ERRORS, ratio=3.0))
    counts = [arm(500 * size, n, RUN_ERRORS, runs_n=500) for n in (failed_n, 1)]
    assert verdict(rule, [epoch(n, *counts) for n in range(40)]) is said


def test_one_alpha_is_shared_by_all_bounds():
    """What just condemns under one bound does not under four."""
    epochs = [epoch(1, arm(400, 14), arm(400, 1))]
    assert verdict(rule_of(), epochs) is Verdict.FAIL
    assert verdict(rule_of(*(events_bound(name) for name in (ERROR_RATE, "a", "b", "c"))), epochs) is Verdict.UNSURE


def test_evidence_carries_over_from_step_to_step():
    rule = rule_of()
    first = [epoch(n, arm(10, 1, units_n=10), arm(190, 1, units_n=190), share=0.05) for n in range(3)]
    before = judge(rule, folded(rule, first)).readings[0].log_e
    after = judge(rule, folded(rule, [*first, epoch(3, arm(20), arm(180), share=0.1, step=1)])).readings[0].log_e
    assert before == after > 0


def test_evidence_can_be_kept_and_read_back_bit_by_bit():
    rule = rule_of()
    found = folded(rule, [calm(number) for number in range(100)])
    assert msgpack.decode(msgpack.encode(found), type=Evidence) == found


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_with_one_arm_alone_there_is_nothing_to_compare(share):
    rule = rule_of()
    found = judge(rule, folded(rule, [epoch(1, arm(100, 50), arm(100), share=share)]))
    assert found.readings[0].log_e == pytest.approx(0, abs=1e-12)


def test_where_units_are_no_longer_told_apart_only_blocks_speak():
    rule = rule_of()
    found = folded(rule, [epoch(n, arm(100, 50), arm(100, 5), crowded=(ERROR_RATE,)) for n in range(10)])
    assert (judge(rule, found).readings[0].log_e, judge(rule, found).readings[0].form) == (0, Form.BLOCKS)
    longer = folded(rule, [epoch(n, arm(100, 50), arm(100, 5)) for n in range(10, 40)], found)
    assert judge(rule, longer).verdict is Verdict.FAIL


def test_arms_whose_calls_share_no_runs_are_not_kept_back_for_want_of_runs():
    rule = rule_of(events_bound(), events_bound(RUN_ERRORS))
    assert verdict(rule, [calm(number) for number in range(150)]) is Verdict.PROVEN


def test_a_candidate_that_dies_is_condemned_in_the_careful_form_too_after_four_epochs():
    """The first of them is not whole; and one that recovers within an epoch is not condemned."""
    rule = rule_of(events_bound(form=Form.AUTO))
    good = folded(rule, [calm(number) for number in range(60)])
    dead = [epoch(60, arm(100, 60), arm(100, 1)), *(epoch(n, arm(100, 100), arm(100, 1)) for n in range(61, 66))]
    verdicts = [judge(rule, folded(rule, dead[:n], good)).verdict for n in range(1, 7)]
    assert Verdict.FAIL not in verdicts[:2]
    assert verdicts[-1] is Verdict.FAIL
    burst = [epoch(60, arm(100, 60), arm(100, 1)), epoch(61, arm(100, 60), arm(100, 1)), *map(calm, range(62, 100))]
    assert all(judge(rule, folded(rule, burst[:n], good)).verdict is not Verdict.FAIL for n in range(1, 41))


def test_an_absolute_limit_needs_no_baseline_and_takes_incidents_of_both_for_harm():
    rule = rule_of(events_bound("action:block", limit=0.03))
    within = [epoch(n, arm(100, 3, "action:block"), arm(100)) for n in range(200)]
    assert verdict(rule, within) is not Verdict.FAIL
    assert verdict(rule, [epoch(n, arm(100, 9, "action:block"), arm(100, 9, "action:block")) for n in range(5)]) is (
        Verdict.FAIL
    )
    assert verdict(rule, [epoch(n, arm(500, 1, "action:block"), arm(500)) for n in range(4)]) is Verdict.PROVEN


def test_latency_is_one_guardrail_of_three_quantiles():
    rule = rule_of(events_bound("latency"))
    counts = {"latency_p50": 90, "latency_p90": 50, "latency_p99": 20}
    slow, usual = (
        ArmCounts(100, events=each) for each in (counts, {"latency_p50": 50, "latency_p90": 10, "latency_p99": 1})
    )
    found = judge(rule, folded(rule, [epoch(1, slow, usual)]))
    assert (found.verdict, found.guardrail) == (Verdict.FAIL, "latency")
    assert [count.events_n for count in found.readings[0].candidate] == [90, 50, 20]


def test_with_a_window_a_long_good_past_makes_up_for_nothing():
    """Two hours without one, then 10 % against a limit of 3 %: fifty bad events have never begun the test anew."""
    windowed, plain = (rule_of(events_bound(limit=0.03, window_n=window_n)) for window_n in (30, 0))
    good = [epoch(number, arm(20), arm(20)) for number in range(720)]
    late = [epoch(number, arm(20, 2), arm(20)) for number in range(720, 800)]
    found = {}
    for rule in (windowed, plain):
        evidence = folded(rule, good)
        assert judge(rule, evidence).verdict is not Verdict.FAIL
        found[rule] = 0
        while judge(rule, evidence).verdict is not Verdict.FAIL:
            evidence = fold(rule, evidence, late[found[rule]])
            found[rule] += 1
    assert 2 * found[windowed] < found[plain]


def test_a_window_goes_by_the_clock_and_not_by_what_was_counted():
    """Epochs in which nobody asked belong to it."""
    rule = rule_of(events_bound(limit=0.03, window_n=30))
    evidence = folded(rule, [epoch(number, arm(20), arm(20)) for number in (0, 20, 40, 41, 42)])
    ((series,),) = evidence.series
    assert (1, 2) == (series.harm.restarts_n, series.harm.passed_n)


def test_a_rate_is_judged_on_where_units_are_too_many_to_be_told_apart():
    """From then on every bad event counts, and every request: that is what the rate is of."""
    rule = rule_of(events_bound(limit=0.03))
    found = folded(rule, [epoch(number, arm(100, 9), arm(100), crowded=(ERROR_RATE,)) for number in range(20)])
    assert (Verdict.FAIL, 0.03) == (judge(rule, found).verdict, judge(rule, found).readings[0].limit)
