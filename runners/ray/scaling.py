"""How many replicas an arm should have, from the calls that are under way at its hops.

Ray Serve asks this in its controller, with what every replica said in `record_autoscaling_stats`.
"""

from math import ceil
from typing import Any


def replicas_for(context: Any) -> tuple[int, dict[str, Any]]:
    """The number wanted for Serve's AutoscalingContext, within its bounds, and a state that stays as it was."""
    said = context.aggregated_metrics.get("hop_open") or {}
    open_n = sum(float(value) for value in said.values())
    config = context.config
    wanted_n = ceil(open_n / config.get_target_ongoing_requests()) if said else context.target_num_replicas
    lowest, highest = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return max(lowest, min(highest, wanted_n)), context.policy_state or {}
