"""A gateway without sockets: everything a request meets, built as main.py builds it, for steps.py to time.

Stand-ins are used for what is timed by itself: an endpoint that answers at once, and observers that take and forget.
"""

import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec

from benchmarks.models import Workload
from benchmarks.servers import STRATEGIES, write_config
from gateway.arrival import Arrival, Reply
from gateway.cli.loading import compile_routes
from gateway.config.bind import Binder, Bound
from gateway.config.directory import load_directory
from gateway.execution.executor import execute
from gateway.execution.outcome import Outcome, Routed
from gateway.execution.shadows import ShadowPool
from gateway.frontends.attribution import Attributions
from gateway.frontends.discovery import Discovery
from gateway.frontends.grpc import GrpcFrontend
from gateway.frontends.http import HttpFrontend
from gateway.frontends.http_codec import decode_json
from gateway.frontends.limits import DEFAULT_LIMITS
from gateway.frontends.readiness import Readiness
from gateway.frontends.reception import Reception
from gateway.recording import Recorder
from gateway.routing.leases import Leases
from gateway.routing.router import Router
from gateway.routing.table import BoundRoute, RoutingTable
from gateway.service import Service
from observability.event import Identity, RequestEvent, ShadowEvent
from observability.metrics import Metrics
from observability.propagation import Trace
from observability.sampling import read_sampler
from observability.sinks.line import LineEncoder
from observability.sinks.log import EventLog
from observability.span_counts import NO_SPANS, SpanCounts
from observability.tracing import Tracing
from runners.core.catalogue import Runners
from runners.core.runner import Description
from runners.core.tensor import InferenceRequest, InferenceResponse

IDENTITY = Identity("bench", "bench", 1, "bench")
HEADERS = {  # as wrk sends them
    b"host": b"127.0.0.1:8000",
    b"content-type": b"application/json",
    b"x-turnout-unit": b"account-17",
    b"content-length": b"100",
}
PEER = ("127.0.0.1", 50000)
UNDECIDED = next(iter(STRATEGIES))  # the route without anything to decide


class StillEndpoint:
    """Gives the same answer at once, so that what is around a call can be timed without it."""

    def __init__(self, description: Description, answer: InferenceResponse) -> None:
        self.description = description
        self._answer = answer

    def ready(self) -> bool:
        return True

    async def infer(self, _request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:  # noqa: ARG002
        return self._answer

    async def close(self) -> None:
        return


class ForgetfulLog:
    """Stands for the event log: takes an event at the same price and keeps the last few."""

    def __init__(self) -> None:
        self.kept = deque[Any](maxlen=64)
        self.offer = self.kept.append


class DeafObserver:
    """Stands for meters, when only the event shall be timed."""

    def begin(self) -> None: ...
    def record(self, event: RequestEvent) -> None: ...


class DeafSpans:
    """Stands for the exporter: one request in a hundred is still drawn, its spans are not built."""

    def write_request(self, trace: Trace, event: RequestEvent) -> None: ...
    def write_shadow(self, trace: Trace, event: ShadowEvent) -> None: ...
    def counts(self) -> SpanCounts:
        return NO_SPANS

    def close(self, _timeout_s: float) -> bool:
        return True


@dataclass(frozen=True)
class Stage:
    """One request at every point of its way, and everything it meets."""

    workload: Workload
    table: RoutingTable  # a route for every strategy, named after it
    metrics: Metrics
    tracing: Tracing
    reception: Reception
    router: Router
    service: Service
    recorder: Recorder
    log: ForgetfulLog
    arrival: Arrival
    request: InferenceRequest
    routed: Routed
    outcome: Outcome
    http: HttpFrontend
    grpc: GrpcFrontend
    event: RequestEvent
    encoder: LineEncoder
    attributions: Attributions
    json: bytes  # the body, at hand

    @property
    def route(self) -> BoundRoute:
        return self.table.routes[UNDECIDED]

    def body(self, case: str) -> bytes:
        """A request's body. gRPC's comes without its frame."""
        return self.workload.bodies[case].read_bytes()[5 if case == "grpc" else 0 :]

    def demand_success(self) -> None:
        """Leave if the latest request was not answered: the time of a refusal is worth nothing."""
        latest = self.log.kept[-1]
        if latest.status != "ok" or self.recorder.failed_n:
            sys.exit(f"what was timed is not an answer: {latest}")

    def still(self) -> Routed:
        """The routed request with an arm that answers at once."""
        assert isinstance(self.outcome.answer, InferenceResponse)
        answer = self.outcome.answer
        arms = tuple(
            msgspec.structs.replace(bound, endpoint=StillEndpoint(bound.endpoint.description, answer))
            for bound in self.route.arms
        )
        return msgspec.structs.replace(self.routed, route=msgspec.structs.replace(self.route, arms=arms))

    def deaf(self) -> tuple[Recorder, Routed]:
        """A recorder that only builds events, and the request on a route without a meter."""
        recorder = Recorder(log=cast(EventLog, ForgetfulLog()), metrics=self.metrics, tracing=self.tracing)
        route = msgspec.structs.replace(self.route, meter=DeafObserver())
        return recorder, msgspec.structs.replace(self.routed, route=route)


@asynccontextmanager
async def set_stage(workload: Workload) -> AsyncIterator[Stage]:
    """Open the models in the loop that runs, bind a route for every strategy, and lead one request through."""
    runners, metrics = Runners(), Metrics("bench")
    bound = await _bind(workload, runners, metrics)
    try:
        yield await _lead_through(workload, bound.table, metrics)
    finally:
        await bound.lease.end()
        await runners.close()


async def _bind(workload: Workload, runners: Runners, metrics: Metrics) -> Bound:
    with tempfile.TemporaryDirectory() as folder:
        for strategy in STRATEGIES:
            write_config(Path(folder), strategy, replace(workload, name=strategy))
        compiled = compile_routes(load_directory(Path(folder)), {})
        binder = Binder(Leases(runners.find), metrics=metrics, report=lambda _: None)
        bound = await binder.bind(1, compiled)
    if bound.table.quarantined:
        sys.exit(f"a route could not be opened: {bound.table.quarantined}")
    return bound


async def _lead_through(workload: Workload, table: RoutingTable, metrics: Metrics) -> Stage:
    tracing = Tracing(read_sampler({}), DeafSpans())
    reception, router = Reception(tracing), Router(table)
    log = ForgetfulLog()
    recorder = Recorder(log=cast(EventLog, log), metrics=metrics, tracing=tracing)
    service = Service(router, ShadowPool(recorder.record_shadow))
    arrival = _untraced(lambda: reception.arrive("http", HEADERS, PEER[0]))
    request = decode_json(workload.bodies["json"].read_bytes(), UNDECIDED, "", DEFAULT_LIMITS).request
    routed = service.route(request, arrival)
    outcome = await execute(routed)
    recorder.record(arrival, routed, outcome, Reply("ok", 100, 200, 200))
    return Stage(
        workload=workload,
        table=table,
        metrics=metrics,
        tracing=tracing,
        reception=reception,
        router=router,
        service=service,
        recorder=recorder,
        log=log,
        arrival=arrival,
        request=request,
        routed=routed,
        outcome=outcome,
        http=HttpFrontend(service, recorder, reception, Discovery(router, Readiness(), "bench")),
        grpc=GrpcFrontend(service, recorder, reception),
        event=log.kept[-1],
        encoder=LineEncoder(IDENTITY, bytes(32)),
        attributions=Attributions(),
        json=workload.bodies["json"].read_bytes(),
    )


def _untraced(arrive: Callable[[], Arrival]) -> Arrival:
    """The first arrival that was not sampled: ninety-nine in a hundred are like it."""
    while True:
        arrival = arrive()
        if arrival.trace is None:
            return arrival
