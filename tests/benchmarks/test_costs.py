"""What one request costs in steps of the interpreter: a change that makes the path longer is seen before it is merged.

Time would depend on the machine and on who else uses it; the number of bytecode instructions does not. It sees nothing
of what C code does, which is why benchmarks/steps.py measures time as well. Budgets hold for the Python they were
counted on; other versions compile to other instructions.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from types import FrameType
from typing import Any

import pytest

from benchmarks.models import make_workload
from benchmarks.stage import HEADERS, PEER, Stage, set_stage
from gateway.arrival import Reply
from gateway.counting import Counter
from gateway.execution.executor import execute
from gateway.frontends.grpc_codec import decode_request, encode_answer
from gateway.frontends.http_codec import decode_json, encode_json
from gateway.frontends.limits import DEFAULT_LIMITS

COUNTED_ON = (3, 11)
LEEWAY = 1.1  # growth by a tenth is a decision, not an accident
BUDGETS = {  # instructions of bytecode for one request of one row
    "arrive": 83,
    "decode JSON": 300,
    "decode gRPC": 228,
    "gather": 127,
    "decide": 51,
    "route": 310,
    "execute": 174,
    "check and run": 536,
    "encode JSON": 82,
    "encode gRPC": 71,
    "count": 201,
    "record": 827,  # counting included, and handing over what one turn of the loop has ended
    "write an event": 86,
}

Step = Callable[[], Any]


def count_instructions(step: Step) -> int:
    """How many instructions `step` takes, in all Python that it calls; a coroutine is led to its end."""
    counted = 0

    def local(frame: FrameType, event: str, _: object) -> Any:
        nonlocal counted
        counted += event == "opcode"
        return local

    def enter(frame: FrameType, _event: str, _: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return local

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        outcome = step()
        if hasattr(outcome, "send"):
            finish(outcome)
    finally:
        sys.settrace(before)
    return counted


def finish(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run what waits for nothing to its end."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("a step that has to wait cannot be counted")


def steps_of(stage: Stage) -> dict[str, Step]:
    """The steps of one request, by the names of BUDGETS."""
    arrival, request, routed, outcome, route = stage.arrival, stage.request, stage.routed, stage.outcome, stage.route
    json, grpc = stage.body("json"), stage.body("grpc")
    said, answer = stage.attributions.of(routed, outcome), outcome.answer
    still, facts = stage.still(), routed.facts
    endpoint, counter = route.baseline.endpoint, Counter()
    return {
        "arrive": lambda: stage.reception.arrive("http", HEADERS, PEER[0]),
        "decode JSON": lambda: decode_json(json, route.name, "", DEFAULT_LIMITS),
        "decode gRPC": lambda: decode_request(grpc, DEFAULT_LIMITS),
        "gather": lambda: route.gather(request, arrival),
        "decide": lambda: route.decider.decide(facts),
        "route": lambda: stage.service.route(request, arrival),
        "execute": lambda: execute(still),
        "check and run": lambda: endpoint.infer(request, deadline_at=float("inf")),
        "encode JSON": lambda: encode_json(said, "r1", answer),
        "encode gRPC": lambda: encode_answer(said, "r1", answer),
        "count": lambda: (routed.route.tally.begin(arrival.at), counter.count(arrival, routed, outcome)),
        "record": lambda: stage.recorder.record(arrival, routed, outcome, Reply("ok", 100, 200, 200)),
        "write an event": lambda: stage.encoder.line(stage.event),
    }


async def count_all() -> dict[str, int]:
    async with set_stage(make_workload("tiny")) as stage:
        counts = {}
        for name, step in steps_of(stage).items():
            found = []
            for _ in range(6):  # caches fill first, and one request in a hundred is drawn to be traced
                found.append(count_instructions(step))
                await asyncio.sleep(0)
            counts[name] = min(found)
        return counts


@pytest.fixture(scope="module")
def counts() -> dict[str, int]:
    if sys.version_info[:2] != COUNTED_ON:
        pytest.skip(f"the budgets were counted on Python {'.'.join(map(str, COUNTED_ON))}")
    return asyncio.run(count_all())


@pytest.mark.parametrize("name", BUDGETS)
def test_a_step_stays_within_its_budget(counts: dict[str, int], name: str) -> None:
    """Nobody makes the path of every request longer without noticing. Where it is worth it, the table says so."""
    budget, found = BUDGETS[name], counts[name]
    assert found <= budget * LEEWAY, f"'{name}' takes {found} instructions, its budget is {budget}; cut or raise it"


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_is_no_looser_than_it_needs_to_be(counts: dict[str, int], name: str) -> None:
    """What was gained is not lost again unseen: a step that became shorter takes its budget with it."""
    budget, found = BUDGETS[name], counts[name]
    assert found >= budget / LEEWAY, f"'{name}' takes only {found} instructions; write that in place of {budget}"


def test_a_longer_path_is_seen() -> None:
    """The count is of what runs: twice the work is twice the number, in whatever function it is done."""

    def once() -> None:
        sorted([3, 1, 2], key=lambda n: -n)

    def twice() -> None:
        once()
        once()

    assert 2 * count_instructions(once) < count_instructions(twice) < 3 * count_instructions(once)


def test_a_coroutine_is_counted_to_its_end() -> None:
    async def work() -> int:
        total = 0
        for n in range(100):
            total += n
        return total

    def start() -> Awaitable[int]:
        return work()

    assert count_instructions(start) > 300
