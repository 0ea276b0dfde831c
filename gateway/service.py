"""The path of one request; read this first.

frontend -> route -> answer -> frontend -> recorder
            |        |
            |        executor: the serving arm, then fallbacks; then the shadow pool
            router, facts, decider: pure, nothing is awaited
"""

from msgspec.structs import replace

from gateway.arrival import Arrival, context_of
from gateway.deadline import deadline_of
from gateway.execution.executor import execute
from gateway.execution.merging import execute_merged
from gateway.execution.outcome import Outcome, Routed
from gateway.execution.shadows import ShadowPool
from gateway.routing.router import Router
from runners.core.tensor import InferenceRequest

NEVER_FALL_BACK = b"never"


class Service:
    """Decides about a request, then does what was decided."""

    def __init__(self, router: Router, shadows: ShadowPool) -> None:
        self._router = router
        self._shadows = shadows
        self._idle = shadows.idle

    def route(self, request: InferenceRequest, arrival: Arrival) -> Routed:
        """Decide: which route, what may be known of the request, which plan. Raises GatewayError or NotReady."""
        route = self._router.route(request.model)
        facts = route.gather(request, arrival)
        decision = route.decider.decide(facts)
        deadline_at = deadline_of(request, arrival, route.timeout_s)
        may_fall_back = arrival.metadata.get(b"x-turnout-fallback") != NEVER_FALL_BACK
        if route.asks_others:
            request = replace(request, context=context_of(arrival, request.id))
        route.meter.begin()
        if route.tally is not None and decision.plan.assigned is not None:
            route.tally.begin(arrival.at)
        return Routed(request, route, facts, decision, deadline_at, may_fall_back)

    async def answer(self, routed: Routed, arrival: Arrival) -> Outcome:
        """Do it. Shadows begin in an idle moment after the answer, so that they can neither delay nor alter it."""
        self._idle.begin()
        try:
            merge = routed.decision.plan.merge
            outcome = await (execute(routed) if merge is None else execute_merged(routed, merge))
        finally:
            self._idle.end()
        if routed.decision.shadows and not outcome.blames_caller:
            self._shadows.offer(routed, outcome.unmerged, arrival)
        return outcome
