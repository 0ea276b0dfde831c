"""A candidate that says "block" too often, from a request to the rollback: real models, counts, ledger and conductor.

The time of every request is passed in, so an hour takes a second.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from time import monotonic

import numpy as np
import onnx.parser
import pytest

from gateway.arrival import Arrival
from gateway.config.bind import Binder
from gateway.control.conductor import Conductor
from gateway.counting import Counter
from gateway.execution.shadows import ShadowPool
from gateway.publishing.change import Apply, Request
from gateway.publishing.evidence import tell_evidence
from gateway.publishing.publisher import Publisher
from gateway.publishing.rehearsal import Rehearsal
from gateway.routing.leases import Leases
from gateway.routing.router import Router
from gateway.service import Service
from gateway.state.bookings import Booking
from gateway.state.closing import Reporter
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from gateway.tally import Tallies
from observability.metrics import Metrics
from runners.core.catalogue import Runners
from runners.core.tensor import InferenceRequest, Tensor
from strategies.core.state import Phase
from strategies.evidence.epochs import EPOCH_S
from tests.gateway.conftest import documents

START_S = 1_800_000_000.0
REQUESTS_N = 200  # in an epoch, half of them the candidate's
MODEL = """<ir_version: 9, opset_import: ["": 17]>
m (float[N,1] amount) => (bool[N,1] block) {{
    limit = Constant <value_float = {limit}> ()
    block = Greater(amount, limit)
}}
"""
RELATIVE = {"action": "block", "no_worse_than": "2x"}
ABSOLUTE = {"action": "block", "no_worse_than": "4%", "window": "5m"}


class Gateway:
    """All of one but its sockets and processes. Amounts are drawn from 0 to 1; models block those above a limit."""

    def __init__(self, root: Path) -> None:
        self.now_s = START_S
        self.blocked: dict[str, list[str]] = {"old": [], "new": []}  # event ids, by arm
        self.shelf = Shelf(root / "state")
        self.publisher = Publisher(self.shelf, root, Rehearsal(is_opening=True), clock=lambda: self.now_s)
        self._conductor = Conductor(self.publisher, self.shelf, "a")
        self._tallies = Tallies()
        self._chance = Random(1)
        self._seq = 0

    async def open(self, guardrails: list[Mapping[str, str]]) -> None:
        strategy = {"kind": "canary", "candidate": "new", "ramp": [{"share": "50%", "bake": "1h"}]}
        written = documents(
            arms={
                "old": {"model": "file:old.onnx", "role": "baseline"},
                "new": {"model": "file:new.onnx", "role": "candidate"},
            },
            fallback=["old"],
            actions={"block": {"output": "block", "equals": True}},
            strategy=strategy | {"guardrails": guardrails},
        )
        await self.publisher.publish(Request(Apply(written), "ann", Cause.OPERATE))
        self._runners = Runners()
        binder = Binder(
            Leases(self._runners.find), metrics=Metrics(""), report=lambda _event: None, tallies=self._tallies
        )
        meaning = self.publisher.meaning
        self._bound = await binder.bind(meaning.number, list(meaning.routes.values()))
        self._service = Service(Router(self._bound.table), ShadowPool(lambda _result: None))

    async def close(self) -> None:
        await self._bound.lease.end()
        await self._runners.close()
        self.shelf.close()

    async def pass_epoch(self) -> None:
        """Ten seconds of requests, booked as a worker's and looked at once they are closed."""
        for number in range(REQUESTS_N):
            await self._ask(self.now_s + number * EPOCH_S / REQUESTS_N)
        self.now_s += EPOCH_S
        self._seq += 1
        seen_at = self.now_s + 3.0
        counts = self._tallies.take(seen_at)
        me = Reporter("a", counts.open_from, counts.holding, seen_at)
        self.shelf.bookings().book([Booking("w", self._seq, counts)], me, {})
        await self._conductor.look()

    @property
    def rollout(self):
        return self.publisher.meaning.kept["digits"].rollout

    @property
    def watched(self):
        return self._conductor.watched["digits"]

    async def _ask(self, at: float) -> None:
        amount = Tensor("amount", "FP32", np.array([[self._chance.random()]], np.float32))
        event_id = f"{at:.2f}"
        arrival = Arrival(at, monotonic(), event_id, "http", {b"x-turnout-unit": event_id.encode()}, timeout_s=60.0)
        routed = self._service.route(InferenceRequest("digits", (amount,)), arrival)
        outcome = await self._service.answer(routed, arrival)
        Counter().count(arrival, routed, outcome)
        if outcome.answer.outputs[0].array.any():
            self.blocked[outcome.answered.arm.name].append(event_id)


@pytest.fixture
async def gateway_of(tmp_path: Path) -> AsyncIterator[object]:
    """A gateway whose baseline and candidate block these shares of the amounts, under these guardrails."""
    made = Gateway(tmp_path)

    async def opened(old: float, new: float, *guardrails: Mapping[str, str]) -> Gateway:
        for name, share in (("old", old), ("new", new)):
            model = onnx.parser.parse_model(MODEL.format(limit=1 - share))
            (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
        await made.open(list(guardrails))
        return made

    yield opened
    await made.close()


@pytest.mark.parametrize("guardrail", [RELATIVE, ABSOLUTE])
async def test_a_candidate_that_says_block_too_often_is_taken_back_and_its_first_answers_are_named(
    gateway_of, guardrail
):
    """The model is sound, fast and valid, and would block five times as many accounts as are blocked now."""
    gateway = await gateway_of(0.02, 0.10, {"metric": "error_rate"}, guardrail)
    for _ in range(20):
        await gateway.pass_epoch()
        if gateway.rollout.phase is Phase.ROLLED_BACK:
            break
    reason = gateway.rollout.reason
    assert Phase.ROLLED_BACK is gateway.rollout.phase
    assert reason.startswith("action:block is proven worse than its bound; action:block E = ")
    blocked_n = len(gateway.blocked["new"])
    assert f", {blocked_n} of " in reason
    assert reason.endswith(f"; first: {', '.join(gateway.blocked['new'][:3])}")
    assert (" and at most 4%; first" in reason) is (guardrail is ABSOLUTE)


async def test_one_that_says_it_as_often_as_the_baseline_stays(gateway_of):
    gateway = await gateway_of(0.02, 0.02, RELATIVE, ABSOLUTE)
    for _ in range(30):
        await gateway.pass_epoch()
    assert Phase.BAKING is gateway.rollout.phase
    assert gateway.blocked["new"]


async def test_when_both_block_too_many_a_rate_is_broken_and_a_multiple_is_not(gateway_of):
    """One rollout, both kinds, one alpha."""
    gateway = await gateway_of(0.10, 0.10, RELATIVE, ABSOLUTE)
    for _ in range(20):
        await gateway.pass_epoch()
        if gateway.rollout.phase is Phase.ROLLED_BACK:
            break
    assert Phase.ROLLED_BACK is gateway.rollout.phase
    told = tell_evidence(gateway.watched)["guardrails"]
    assert [("action:block", None), ("action:block", 0.04)] == [(each["metric"], each["limit"]) for each in told]
    broken = [each for each in gateway.rollout.reason.split("; ") if "action:block E = " in each]
    assert [False, True] == ["at most 4%" in each for each in broken]
    relative, absolute = (float(each.split("E = ")[1].split(",")[0]) for each in broken)
    assert relative < 200 <= absolute
