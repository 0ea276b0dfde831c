"""The recorder: says once what a request came to, when the last byte has gone or the caller has."""

import logging
from collections.abc import Callable, Iterator
from hashlib import sha256
from time import monotonic

from gateway.arrival import Arrival, Reply, request_id_of
from gateway.comparing.likeness import Likeness
from gateway.counting import Counter
from gateway.execution.drops import Drops
from gateway.execution.outcome import Impression, Observation, Outcome, Routed
from gateway.execution.shadows import ShadowResult
from observability.event import Call, FeedbackEvent, Interleaving, LifeEvent, RequestEvent, ShadowEvent, ShownRow
from observability.metrics import Metrics
from observability.sinks.log import EventLog
from observability.tracing import Tracing
from runners.core.tensor import rows_of
from strategies.core.assignment import unit_bytes
from strategies.core.merge import Mode

UNCOMPARED = Likeness(agreement=-1.0)
TEXT_LIMIT = 256  # characters of what a caller wrote, so that a full queue of events has a bound in bytes
LOG = logging.getLogger("turnout.recorder")

Soon = Callable[[Callable[[], None]], object]
# A request that is over and not written about yet, and the moment on the monotonic clock.
_Ended = tuple[Arrival, Routed | None, Outcome | None, Reply, float]


def _at_once(do: Callable[[], None]) -> None:
    do()


class Recorder:
    """Writes every outcome to the event log, the meters and, if sampled, the trace. It never raises.

    Before all that it has the outcome counted for evidence, which goes another way: telemetry that fails takes none of
    it along.
    """

    def __init__(self, *, log: EventLog, metrics: Metrics, tracing: Tracing, soon: Soon = _at_once) -> None:
        """`soon` has requests written once this turn of the event loop has sent all of its answers.

        Nobody's answer then waits for what is written about another's, and the same code runs for many requests in a
        row, which finds it in the processor's caches (benchmarks/README.md). What waits is bounded by the requests that
        can end in one turn.
        """
        self._soon = soon
        self._ended: list[_Ended] = []
        self._log = log
        self._metrics = metrics
        self._tracing = tracing
        self._counter = Counter()
        self._drops = Drops(log.offer)
        self.failed_n = 0

    def record(self, arrival: Arrival, routed: Routed | None, outcome: Outcome | None, reply: Reply) -> None:
        """Record one request. `routed` is None when it was refused before a route was known."""
        self._ended.append((arrival, routed, outcome, reply, monotonic()))
        if len(self._ended) == 1:
            self._soon(self.flush)

    def flush(self) -> None:
        """Write about all that have ended."""
        ended, self._ended = self._ended, []
        for request in ended:
            self._write(*request)

    def _write(
        self, arrival: Arrival, routed: Routed | None, outcome: Outcome | None, reply: Reply, ended_at: float
    ) -> None:
        if routed is not None:
            self._counter.count(arrival, routed, outcome)
        try:
            if routed is None:
                event = _refused_event(arrival, reply, ended_at)
                self._metrics.refuse(arrival.protocol, reply.code)
            else:
                event = _request_event(arrival, routed, outcome, reply, ended_at)
                routed.route.meter.record(event)
            self._log.offer(event)
            if arrival.trace is not None:
                self._tracing.finish(arrival.trace, event)
        except Exception:  # telemetry may be lost, an answer may not
            self.failed_n += 1
            LOG.exception("a request could not be recorded")

    def refuse(self, protocol: str, code: str) -> None:
        """Count what was refused before it was a request: the bytes were none, or came too late, or one too many."""
        self._metrics.refuse(protocol, code)

    def record_shadow(self, result: ShadowResult) -> None:
        """Record one shadow call, made or dropped. Those dropped are told in events together, once a second."""
        try:
            # First of all, so that made, dropped and pending add up to those due even when the rest breaks.
            meter = result.call.routed.route.meter
            if result.dropped:
                arm = result.call.bound.arm.name
                meter.drop_shadow(arm, result.dropped)
                if not self._drops.count(meter, arm, result.dropped):
                    self._drops.hold(meter, _shadow_event(result))
                return
            event = _shadow_event(result)
            meter.record_shadow(event)
            self._log.offer(event)
            if result.call.arrival.trace is not None:
                self._tracing.finish_shadow(result.call.arrival.trace, event)
        except Exception:
            self.failed_n += 1
            LOG.exception("a shadow call could not be recorded")

    def close(self) -> None:
        """Write what is held back."""
        self._drops.tell()

    def record_feedback(self, event: FeedbackEvent) -> None:
        """Record what became of clicks on a merged list."""
        self._log.offer(event)

    def record_life(self, event: LifeEvent) -> None:
        """Record a turn in the gateway's own life."""
        self._log.offer(event)


def _request_event(
    arrival: Arrival, routed: Routed, outcome: Outcome | None, reply: Reply, ended_at: float
) -> RequestEvent:
    route, facts, plan = routed.route, routed.facts, routed.decision.plan
    answered = outcome.answered if outcome else None
    trace = arrival.trace
    return RequestEvent(
        at=arrival.at,
        event_id=arrival.event_id,
        request_id=request_id_of(arrival, routed.request.id)[:TEXT_LIMIT],
        trace_id=trace.trace_id if trace else "",
        span_id=trace.span_id if trace else "",
        unit_hash=_bounded_unit(facts.unit),
        unit_kind=route.unit_kind if facts.unit else "request",
        attributes=_bounded(route.attribute_names, facts.attributes) if facts.attributes else {},
        route=route.name,
        revision=route.revision,
        experiment=route.experiment,
        strategy=route.strategy,
        assigned_arm=plan.assigned.name if plan.assigned else "",
        answered_arm=answered.arm.name if answered else "",
        share_ppm=plan.share_ppm,
        reason=plan.reason,
        shadows=tuple([arm.name for arm in routed.decision.shadows]) if routed.decision.shadows else (),
        calls=tuple([_call(seen, arrival) for seen in outcome.observations]) if outcome else (),
        fallback_cause=outcome.fallback_cause if outcome else "",
        status=reply.code,
        error=reply.error,
        protocol=arrival.protocol,
        http_status=reply.http_status,
        grpc_status=reply.grpc_status,
        rows=rows_of(routed.request),
        request_bytes=reply.request_bytes,
        response_bytes=reply.response_bytes,
        duration_ms=(ended_at - arrival.started_at) * 1e3,
        deadline_ms=(routed.deadline_at - arrival.started_at) * 1e3,
        caller=arrival.caller,
        interleaving=_interleaving(routed, outcome) if outcome and outcome.impressions else None,
        not_interleaved=outcome.not_interleaved if outcome else "",
    )


def _interleaving(routed: Routed, outcome: Outcome) -> Interleaving | None:
    merge, shown = routed.decision.plan.merge, outcome.impressions
    if merge is None:
        return None
    rows = [ShownRow(each.row, each.lists, each.items, tuple(_teams(each))) for each in shown]
    method = str(merge.method if merge.mode is Mode.MERGE else merge.mode)
    return Interleaving(method, routed.route.coin_salt, shown[0].rankers, tuple(rows))


def _teams(shown: Impression) -> Iterator[str]:
    """Whose each place is, in words."""
    for shares in shown.shares:
        parts = [(name, share) for name, share in zip(shown.rankers, shares, strict=False) if share]
        yield parts[0][0] if len(parts) == 1 else " ".join([f"{name}={share}" for name, share in parts])


def _refused_event(arrival: Arrival, reply: Reply, ended_at: float) -> RequestEvent:
    return RequestEvent(
        at=arrival.at,
        event_id=arrival.event_id,
        request_id=request_id_of(arrival, ""),
        trace_id=arrival.trace.trace_id if arrival.trace else "",
        span_id=arrival.trace.span_id if arrival.trace else "",
        status=reply.code,
        error=reply.error,
        protocol=arrival.protocol,
        http_status=reply.http_status,
        grpc_status=reply.grpc_status,
        request_bytes=reply.request_bytes,
        response_bytes=reply.response_bytes,
        duration_ms=(ended_at - arrival.started_at) * 1e3,
        caller=arrival.caller,
    )


def _shadow_event(result: ShadowResult) -> ShadowEvent:
    call, routed, route = result.call, result.call.routed, result.call.routed.route
    answered = call.outcome.answered
    alike = result.likeness or UNCOMPARED
    return ShadowEvent(
        at=call.arrival.at,
        event_id=routed.facts.event_id,
        request_id=request_id_of(call.arrival, routed.request.id)[:TEXT_LIMIT],
        trace_id=call.arrival.trace.trace_id if call.arrival.trace else "",
        unit_hash=_bounded_unit(routed.facts.unit),
        unit_kind=route.unit_kind if routed.facts.unit else "request",
        route=route.name,
        revision=route.revision,
        experiment=route.experiment,
        answered_arm=answered.arm.name if answered else "",
        arm=call.bound.arm.name,
        outcome=result.outcome,
        dropped=result.dropped,
        agreement=result.agreement,
        call=_call(result.observation, call.arrival) if result.observation else None,
        rows=rows_of(routed.request),
        answered_digest=answered.endpoint.description.digest if answered else "",
        answered_ms=call.outcome.observations[-1].duration_s * 1e3 if answered else 0.0,
        max_abs=alike.max_abs,
        max_rel=alike.max_rel,
        invalid=alike.invalid,
        labels=alike.labels_n,
        flips=alike.flips_n,
        lists=alike.lists_n,
        tau=alike.tau,
        rbo=alike.rbo,
        overlap=alike.overlap,
        served=result.served,
        shadowed=result.shadowed,
    )


def _call(seen: Observation, arrival: Arrival) -> Call:
    known = seen.bound.endpoint.description
    return Call(
        arm=seen.bound.arm.name,
        version=known.version,
        digest=known.digest,
        provider=known.provider,
        role=seen.role,
        status="failed" if seen.cause else "ok",
        cause=seen.cause,
        started_ms=(seen.started_at - arrival.started_at) * 1e3,
        duration_ms=seen.duration_s * 1e3,
        batch_rows=seen.batch_rows,
        queued_ms=seen.queued_s * 1e3,
    )


def _bounded(names: tuple[str, ...], values: tuple[str, ...]) -> dict[str, str]:
    return {name: value[:TEXT_LIMIT] for name, value in zip(names, values, strict=True)}


def _bounded_unit(unit: str) -> str:
    """The unit, or the digest of one so long that thousands of them would not fit into memory."""
    return unit if len(unit) <= TEXT_LIMIT else sha256(unit_bytes(unit)).hexdigest()
