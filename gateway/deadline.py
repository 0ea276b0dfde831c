"""One absolute deadline per request, from the earliest of what the caller gave, else the route's default."""

from gateway.arrival import Arrival
from gateway.errors import Malformed
from runners.core.tensor import InferenceRequest

LONGEST_S = 600.0  # nobody keeps a request for longer, whatever they ask for


def deadline_of(request: InferenceRequest, arrival: Arrival, default_s: float) -> float:
    """Monotonic seconds. The protocol's `timeout` parameter counts microseconds; 0 and absent mean not given."""
    budget_s = arrival.timeout_s or LONGEST_S
    timeout_us = request.parameters.get("timeout") if request.parameters else None
    if timeout_us:
        budget_s = min(budget_s, _microseconds(timeout_us) / 1e6)
    elif not arrival.timeout_s:
        budget_s = default_s
    return arrival.started_at + min(budget_s, LONGEST_S)


def _microseconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Malformed("parameter 'timeout' must be a number of microseconds")
    try:
        microseconds = float(value)
    except ValueError:
        raise Malformed(f"parameter 'timeout' must be a number of microseconds, not {value!r:.40}") from None
    if not microseconds > 0:
        raise Malformed("parameter 'timeout' must be above 0 microseconds")
    return microseconds
