"""One deadline for each request."""

import pytest

from gateway.deadline import LONGEST_S, deadline_of
from gateway.errors import Malformed


@pytest.mark.parametrize(
    ("header_s", "parameters", "budget_s"),
    [
        (0.0, {}, 1.0),
        (3.0, {}, 3.0),
        (0.0, {"timeout": 250_000}, 0.25),
        (0.0, {"timeout": 2_000_000}, 2.0),
        (0.1, {"timeout": 2_000_000}, 0.1),
        (0.0, {"timeout": "50000"}, 0.05),
        (0.0, {"timeout": 0}, 1.0),
        (1e9, {}, LONGEST_S),
    ],
)
def test_the_earliest_of_what_the_caller_gave_counts_else_the_routes_own(arrive, ask, header_s, parameters, budget_s):
    arrival = arrive(timeout_s=header_s)

    assert deadline_of(ask(**parameters), arrival, 1.0) == pytest.approx(arrival.started_at + budget_s)


@pytest.mark.parametrize("timeout", [-5, "soon", True, "nan"])
def test_a_timeout_that_is_none_is_the_callers_mistake(arrive, ask, timeout):
    with pytest.raises(Malformed, match="microseconds"):
        deadline_of(ask(timeout=timeout), arrive(), 1.0)
