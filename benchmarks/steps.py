"""Where the time of a request goes, in microseconds of processor time: every step by itself, then all in a row.

    taskset -c 0 .venv/bin/python benchmarks/steps.py [tiny|medium|conv]

A step by itself finds its code and its data in the processor's nearest caches. In a row the steps drive each other out
of there, so the second table is the truth about a request, and the first tells which change would help.

Nothing here goes through a socket; what uvicorn, grpcio, the kernel and other threads take is the difference between
these figures and the processor time per request that run.py reports.
"""

import sys
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks.answers import BASELINE
from benchmarks.models import SHAPES, make_workload
from benchmarks.peers.floor import HttpFloor, answer_grpc, open_model
from benchmarks.servers import STRATEGIES
from benchmarks.stage import HEADERS, IDENTITY, PEER, UNDECIDED, Stage, set_stage
from benchmarks.stopwatch import AsyncCall, Timing, time_async, time_call
from gateway.arrival import Reply
from gateway.execution.executor import execute
from gateway.execution.shadows import ShadowPool, ShadowResult
from gateway.frontends.grpc_call import Call
from gateway.frontends.grpc_codec import decode_request, encode_answer
from gateway.frontends.http import HttpFrontend
from gateway.frontends.http_codec import BinaryWish, decode_binary, decode_json, encode_binary, encode_json
from gateway.frontends.http_exchange import Exchange
from gateway.frontends.limits import DEFAULT_LIMITS
from observability.export import CountedExport
from observability.propagation import SAMPLED, Trace
from observability.sinks.log import EventLog, Pace
from observability.spans import SpanWriter
from observability.tracing import Spans
from runners.core.checks import InputCheck, OutputCheck
from runners.core.runner import OutputPolicy, ProviderChoice
from runners.oip.messages import ModelInferRequest
from runners.onnx.session import load_model, session_options

OK = Reply("ok", 100, 200, 200)
OFFERS_N = 5_000  # per repeat: all of them must fit into the log's queue
NEVER_S = 3600.0


@dataclass(frozen=True)
class Step:
    """One line of the first table. `part` is "" where it is that of the line above."""

    part: str
    name: str
    timing: Timing


async def main(model: str) -> None:
    async with set_stage(make_workload(model)) as stage:
        print(f"{'by itself, us':65} {'median':>8} {'least':>8}")
        async for step in time_steps(stage):
            print(f"{step.part:10} {step.name:54} {step.timing.median_us:8.2f} {step.timing.least_us:8.2f}", flush=True)
        print(f"\n{'one HTTP JSON request, step after step, us':65} {'step':>8} {'so far':>8}")
        so_far_us = 0.0
        for name, timing in await time_row(stage):
            print(f"{'':10} {name:54} {timing.median_us - so_far_us:8.2f} {timing.median_us:8.2f}")
            so_far_us = timing.median_us


async def time_steps(stage: Stage) -> AsyncIterator[Step]:
    """Every step, in the order of a request's way."""
    for steps in (door_steps, decode_steps, decide_steps, encode_steps, record_steps, background_steps):
        if steps is encode_steps:
            async for step in execute_steps(stage):
                yield step
        for step in steps(stage):
            yield step
    async for step in whole_steps(stage):
        yield step


ROW = (
    "arrive",
    "decode",
    "service.route: look up, gather, decide",
    "service.answer: check, run, check",
    "attribute and encode",
    "record",
)


async def time_row(stage: Stage) -> list[tuple[str, Timing]]:
    """A request led ever further, and at last by the frontend itself."""
    row = [(name, await time_async(lambda to=to: walk(stage, to))) for to, name in enumerate(ROW, start=1)]
    return [*row, ("the frontend around it", await time_async(asking(stage.http, stage, binary=False)))]


async def walk(stage: Stage, to: int) -> None:
    """The first `to` steps of ROW, as the HTTP frontend takes them."""
    arrival = stage.reception.arrive("http", HEADERS, PEER[0])
    if to < 2:
        return
    request = decode_json(stage.json, UNDECIDED, "", DEFAULT_LIMITS).request
    if to < 3:
        return
    routed = stage.service.route(request, arrival)
    if to < 4:
        return
    outcome = await stage.service.answer(routed, arrival)
    if to < 5:
        return
    encode_json(stage.attributions.of(routed, outcome), request.id, outcome.answer)
    if to < 6:
        return
    stage.recorder.record(arrival, routed, outcome, OK)


def door_steps(stage: Stage) -> Iterator[Step]:
    arrive, begin = stage.reception.arrive, stage.tracing.begin
    yield Step("door", "arrive: id, clocks, headers, trace", time_call(lambda: arrive("http", HEADERS, PEER[0])))
    yield Step("", "  of it: begin a trace, 1 in 100 sampled", time_call(lambda: begin(None, None)))


def decode_steps(stage: Stage) -> Iterator[Step]:
    body, binary, message = stage.body("json"), stage.body("binary"), stage.body("grpc")
    length = b"%d" % stage.workload.json_length
    yield Step("decode", "HTTP JSON", time_call(lambda: decode_json(body, UNDECIDED, "", DEFAULT_LIMITS)))
    yield Step("", "HTTP binary", time_call(lambda: decode_binary(binary, length, UNDECIDED, "", DEFAULT_LIMITS)))
    yield Step("", "gRPC", time_call(lambda: decode_request(message, DEFAULT_LIMITS)))


def decide_steps(stage: Stage) -> Iterator[Step]:
    request, arrival, gather = stage.request, stage.arrival, stage.route.gather
    yield Step("decide", "service.route: all of this part", time_call(lambda: stage.service.route(request, arrival)))
    yield Step("", "  look the route up", time_call(lambda: stage.router.route(UNDECIDED)))
    yield Step("", "  gather facts, one hash", time_call(lambda: gather(request, arrival)))
    for name in STRATEGIES:
        route = stage.table.routes[name]
        facts, decide = route.gather(request, arrival), route.decider.decide
        yield Step("", f"  decide, {name}", time_call(lambda facts=facts, decide=decide: decide(facts)))


async def execute_steps(stage: Stage) -> AsyncIterator[Step]:
    still, request = stage.still(), stage.request
    endpoint = stage.route.baseline.endpoint
    loaded = load_model(stage.workload.models[BASELINE], ProviderChoice(), threads=1, options=session_options())
    session, signature = loaded.session, loaded.session.signature
    check_input, check_output = InputCheck(signature), OutputCheck(signature, OutputPolicy())
    outputs = session.run(request)
    yield Step("execute", "execute, with an arm that answers at once", await time_async(lambda: execute(still)))
    whole = await time_async(lambda: endpoint.infer(request, deadline_at=float("inf")))
    yield Step("", "endpoint.infer: all that follows in this part", whole)
    yield Step("", "  check the input", time_call(lambda: check_input(request)))
    yield Step("", "  session.run", time_call(lambda: session.run(request)))
    yield Step("", "  check the output", time_call(lambda: check_output((), outputs)))


def encode_steps(stage: Stage) -> Iterator[Step]:
    attributions, routed, outcome = stage.attributions, stage.routed, stage.outcome
    said, answer, wish = attributions.of(routed, outcome), outcome.answer, BinaryWish(others=True)
    yield Step("encode", "attribute", time_call(lambda: attributions.of(routed, outcome)))
    yield Step("", "HTTP JSON", time_call(lambda: encode_json(said, "r1", answer)))
    yield Step("", "HTTP binary", time_call(lambda: encode_binary(said, "r1", answer, wish)))
    yield Step("", "gRPC", time_call(lambda: encode_answer(said, "r1", answer)))


def record_steps(stage: Stage) -> Iterator[Step]:
    arrival, routed, outcome, event, meter = stage.arrival, stage.routed, stage.outcome, stage.event, stage.route.meter
    recorder, (deaf, unmetered) = stage.recorder, stage.deaf()
    yield Step("record", "record: all of this part", time_call(lambda: recorder.record(arrival, routed, outcome, OK)))
    yield Step("", "  build the event", time_call(lambda: deaf.record(arrival, unmetered, outcome, OK)))
    yield Step("", "  count it", time_call(lambda: meter.record(event)))
    log = EventLog(Nowhere(), stage.encoder, Pace(poll_s=NEVER_S))
    yield Step("", "  offer it to the event log", time_call(lambda: log.offer(event), calls_n=OFFERS_N))
    log.close()


def background_steps(stage: Stage) -> Iterator[Step]:
    event, line = stage.event, stage.encoder.line
    yield Step("background", "encode an event as a line", time_call(lambda: line(event)))
    trace = Trace(f"{1:032x}", f"{1:016x}", sampled=True, flags=SAMPLED)
    spans: Spans = SpanWriter(CountedExport([], queue_size=1 << 20, batch_size=512), IDENTITY)
    yield Step("", "build a request's spans, 1 request in 100", time_call(lambda: spans.write_request(trace, event)))
    spans.close(1.0)


async def whole_steps(stage: Stage) -> AsyncIterator[Step]:
    run = open_model(stage.workload.models[BASELINE])
    for protocol, binary in (("HTTP JSON", False), ("HTTP binary", True)):
        floor, gateway = asking_floor(HttpFloor(run), stage, binary=binary), asking(stage.http, stage, binary=binary)
        yield Step("" if binary else "whole", f"{protocol}, floor", await time_async(floor))
        yield Step("", f"{protocol}, gateway", await time_async(gateway))
    message, call = ModelInferRequest.FromString(stage.body("grpc")), Call({b"user-agent": b"h2load"}, caller=PEER[0])
    message.model_name = UNDECIDED
    body = message.SerializeToString()
    yield Step("", "gRPC, floor", time_call(lambda: answer_grpc(run, body)))
    yield Step("", "gRPC, gateway", await time_async(lambda: stage.grpc.infer(body, call)))
    stage.demand_success()
    yield Step("", "a shadow call, with its thread and its event", await time_async(shadowing(stage)))


def asking_floor(floor: HttpFloor, stage: Stage, *, binary: bool) -> AsyncCall:
    """A request to the floor, as uvicorn would hand it over."""
    scope = {"path": f"/v2/models/{UNDECIDED}/infer", "headers": list(_headers(stage, binary=binary).items())}
    message = {"type": "http.request", "body": stage.body("binary" if binary else "json"), "more_body": False}

    async def receive() -> dict[str, Any]:
        return message

    async def send(_message: dict[str, Any]) -> None:
        return

    return lambda: floor(scope, receive, send)


def asking(frontend: HttpFrontend, stage: Stage, *, binary: bool) -> AsyncCall:
    """A request to the frontend, as a connection would hand it over."""
    headers, body = _headers(stage, binary=binary), stage.body("binary" if binary else "json")

    def ask() -> Awaitable[None]:
        exchange = Exchange(Nobody(), PEER[0])
        exchange.method, exchange.path = "POST", f"/v2/models/{UNDECIDED}/infer"
        exchange.headers.update(headers)
        exchange.feed(body)
        exchange.finish()
        return frontend(exchange)

    return ask


class Nobody:
    """The way to a client that takes everything."""

    def write(self, data: bytes) -> None: ...
    def want_more(self, held_n: int) -> None: ...
    def write_answer(self, exchange: Exchange, status: int, lines: bytes, body: bytes) -> None: ...


def _headers(stage: Stage, *, binary: bool) -> dict[bytes, bytes]:
    length = {b"inference-header-content-length": b"%d" % stage.workload.json_length} if binary else {}
    return HEADERS | length


def shadowing(stage: Stage) -> AsyncCall:
    """A shadow call from the offer to its event."""
    loop, routed = get_running_loop(), stage.service.route(_named(stage, "shadow"), stage.arrival)

    async def call() -> ShadowResult:
        told = loop.create_future()

        def report(result: ShadowResult) -> None:
            stage.recorder.record_shadow(result)
            told.set_result(result)

        ShadowPool(report).offer(routed, stage.outcome, stage.arrival)
        return await told

    return call


class Nowhere:
    """A destination that keeps nothing."""

    trouble = ""
    segments_deleted_n = 0

    def write(self, lines: bytes) -> int:
        return len(lines)

    def close(self) -> None:
        return


def _named(stage: Stage, route: str) -> Any:
    return decode_json(stage.body("json"), route, "", DEFAULT_LIMITS).request


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else next(iter(SHAPES))
    if chosen not in SHAPES:
        sys.exit(f"usage: steps.py [{'|'.join(SHAPES)}]")
    uvloop.run(main(chosen))
