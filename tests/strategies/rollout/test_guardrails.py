"""What an operator writes becomes a bound, of the form that its metric needs."""

import pytest

from strategies.evidence.bounds import Bound, Form
from strategies.rollout.guardrails import DEFAULT_GUARDRAILS, Guardrail, bound_of


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
