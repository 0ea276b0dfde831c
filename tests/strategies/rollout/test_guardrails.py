"""What an operator writes becomes a bound, of the form that its metric needs."""

import pytest

from strategies.evidence.bounds import Bound, Form
from strategies.rollout.guardrails import DEFAULT_GUARDRAILS, Guardrail, bound_of, guardrail_problems


def test_what_a_model_does_by_itself_is_judged_by_single_events_and_what_comes_in_bursts_is_not():
    """A dead candidate goes back by the end of the epoch; a pause of one arm takes nobody back."""
    forms = {guardrail.metric: bound_of(guardrail).form for guardrail in DEFAULT_GUARDRAILS}
    assert forms == {
        "error_rate": Form.EVENTS, "invalid_output": Form.EVENTS, "run_errors": Form.EVENTS, "latency": Form.AUTO,
    }  # fmt: skip
    assert bound_of(Guardrail(metric="fallback_rate")).form is Form.AUTO


def test_a_multiple_is_a_margin_and_a_rate_is_a_limit():
    assert bound_of(Guardrail(metric="error_rate", no_worse_than="2x")) == Bound(
        metric="error_rate", ratio=2.0, rate=0.005, form=Form.EVENTS
    )
    assert bound_of(Guardrail(metric="error_rate", no_worse_than="0.5%")).limit == 0.005


@pytest.mark.parametrize("text", ["1x", "x", "many", "0%", "100%"])
def test_what_rules_nothing_out_is_refused_with_a_cure(text):
    with pytest.raises(ValueError, match="write"):
        bound_of(Guardrail(metric="error_rate", no_worse_than=text))


def test_an_action_is_guarded_by_a_multiple_and_by_a_rate_with_a_window():
    """Both at once, in one rollout."""
    guardrails = (
        Guardrail(action="block", no_worse_than="2x"),
        Guardrail(action="block", no_worse_than="3%", window="5m"),
    )
    assert [] == guardrail_problems(guardrails)
    assert [bound_of(each) for each in guardrails] == [
        Bound(metric="action:block", ratio=2.0, rate=0.005, form=Form.EVENTS),
        Bound(metric="action:block", limit=0.03, form=Form.EVENTS, window_n=30),
    ]


@pytest.mark.parametrize(
    ("guardrails", "path", "what"),
    [
        ([{"action": "block"}], "no_worse_than", "nothing says how many are too many"),
        ([{}], 0, "a guardrail is on one thing"),
        ([{"action": "block", "metric": "error_rate", "no_worse_than": "2x"}], 0, "a guardrail is on one thing"),
        ([{"action": "block", "no_worse_than": "2x", "window": "5m"}], "window", "a multiple is of the baseline's"),
        ([{"action": "block", "no_worse_than": "3%", "window": "5"}], "window", "'5' is no duration"),
        ([{"action": "block", "no_worse_than": "3%", "window": "9s"}], "window", "a window of 9s is out of range"),
        ([{"action": "block", "no_worse_than": "3%"}] * 2, "action", "'action:block' is guarded twice"),
        (
            [{"metric": "error_rate"}, {"metric": "error_rate", "no_worse_than": "2x"}],
            "metric",
            "'error_rate' is guarded",
        ),
    ],
)
def test_what_is_wrong_with_a_guardrail_is_said_where_it_is_written(guardrails, path, what):
    (problem,) = guardrail_problems(tuple(Guardrail(**each) for each in guardrails))
    assert (path, problem.what[: len(what)]) == (problem.path[-1], what)
    assert problem.cure
