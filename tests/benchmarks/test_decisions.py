"""What the rule for canaries promises, in small: the same streams as `benchmarks/decisions`, fewer of them."""

import numpy as np
import pytest

from benchmarks.decisions import __main__ as decisions
from benchmarks.decisions import delays, tables
from benchmarks.decisions.questions import QUESTIONS
from benchmarks.decisions.streams import split
from benchmarks.decisions.worlds import CONTRASTS, WORLDS, Alarms, alarms
from strategies.evidence.rule import Form

RUNS_N = 12


def runs_of(run, case, runs_n, seed=5):
    return [run(case, np.random.default_rng([seed, number])) for number in range(runs_n)]


def medians(run, case, runs_n=60):
    return [delays.middle(list(values)) for values in zip(*runs_of(run, case, runs_n), strict=True)]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_candidates_as_good_as_the_baseline_are_left_alone(world):
    """No more of them are rolled back than promised, give or take three standard errors."""
    ours = sum(each.ours for each in runs_of(alarms, world, RUNS_N))
    assert ours / RUNS_N <= tables.highest_rate(RUNS_N)


def test_a_test_pooled_over_a_ramp_takes_drift_for_harm():
    """The streams do hold what misleads the usual test, else they would prove nothing."""
    drifting = next(world for world in WORLDS if "drifts" in world.name)
    assert sum(each.pooled_z for each in runs_of(alarms, drifting, 4)) == 4


def test_bursts_mislead_whoever_counts_single_events():
    assert sum(each.ours for each in runs_of(alarms, CONTRASTS[0], 4)) >= 3


@pytest.mark.parametrize("case", [case for case in delays.ERRORS if case.rates in ((0.01, 0.02), (0.01, 0.05))])
def test_more_errors_are_found_about_as_soon_as_promised(case):
    """Medians of sixty runs scatter by a sixth; the command takes more and holds them to a quarter."""
    for found, promised in zip(medians(delays.one_error, case), case.promised, strict=True):
        assert 0.6 < found / promised < 1.5


def test_a_slower_candidate_is_found_about_as_soon_as_promised():
    case = delays.LATENCY[0]
    assert 0.6 < medians(delays.one_latency, case)[0] / case.promised[0] < 1.5


def test_the_block_form_finds_what_it_should():
    case = delays.BLOCKS[0]
    assert 0.6 < medians(delays.one_error, case)[0] / case.promised[0] < 1.5


def test_what_begins_late_is_found_sooner_than_by_a_test_that_never_begins_again():
    case = delays.LATE[3]
    assert medians(delays.one_late, case)[0] < case.plain


def test_an_equal_candidate_is_proven_about_as_soon_as_promised():
    case = next(case for case in delays.PROOFS if (case.ratio, case.share) == (2.0, 0.5))
    assert 0.6 < medians(delays.one_proof, case)[0] / case.promised < 1.5


@pytest.mark.parametrize(("form", "epochs_n"), [(Form.EVENTS, 2), (Form.AUTO, 5)])
def test_a_candidate_that_dies_is_condemned_within_so_many_epochs(form, epochs_n):
    case = delays.Death(0.05, form, 0)
    assert all(seconds <= 10 * epochs_n for (seconds,) in runs_of(delays.one_death, case, 20))


def test_tables_are_written_newest_first_and_the_same_for_any_number_of_processes(tmp_path, monkeypatch, capsys):
    results = tmp_path / "RESULTS.md"
    results.write_text(decisions.RESULTS.read_text().partition("\n## ")[0])
    monkeypatch.setattr(decisions, "RESULTS", results)
    decisions.main(["--runs", "2", "--jobs", "1", "--only", "blocks", "--write"])
    assert tables.TITLES["blocks"] in results.read_text()
    once = capsys.readouterr().out
    decisions.main(["--runs", "2", "--jobs", "2", "--only", "blocks"])
    assert once == capsys.readouterr().out


def test_every_request_goes_to_one_of_the_arms():
    assert sum(split(np.random.default_rng(1), 1000, 0.05)) == 1000


def test_the_command_ends_with_1_and_names_the_rows_that_miss(monkeypatch, capsys):
    """A median of two runs proves nothing, so what they are is given here."""
    case = delays.ERRORS[0]
    for times, ends in ((1.2, 0), (0.7, 1), (1.3, 1), (float("inf"), 1)):
        runs = [[n * times for n in case.promised]] * 3
        monkeypatch.setattr(decisions, "answer", lambda question, *_, runs=runs: [runs] * len(question.cases))
        monkeypatch.setattr(decisions, "QUESTIONS", [QUESTIONS[1]._replace(cases=(case,))])
        assert ends == decisions.main(["--jobs", "1"])
        assert ends == ("missed: " in capsys.readouterr().err)


def test_too_many_false_rollbacks_are_a_miss_where_they_are_promised_against():
    worlds, runs = (*WORLDS[:1], *CONTRASTS), [Alarms(n < 2, auto=False, pooled_z=True, fixed=True) for n in range(5)]
    (missed,) = tables.missed_worlds(worlds, [runs, runs])
    assert "constant 1 %: 40.0% rolled back" in missed
