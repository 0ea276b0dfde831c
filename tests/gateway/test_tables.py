"""Tables come and go under running requests, and no request notices."""

import asyncio
import sys

import pytest
from msgspec.structs import replace

from gateway.config.bind import Binder
from gateway.execution.shadows import ShadowPool
from gateway.publishing.change import Apply
from gateway.routing.leases import Leases
from gateway.routing.router import Router
from gateway.tables import Tables
from observability.metrics import Metrics
from runners.core.errors import LoadRefused
from tests.gateway.conftest import BASE, ScriptedEndpoint, documents, ramp


class Opener:
    """A runner whose models are scripted, by reference."""

    def __init__(self) -> None:
        self.opened: list[ScriptedEndpoint] = []
        self.bad: set[str] = set()
        self.provider = "cpu"
        self.watch = lambda: None

    async def open(self, wanted, /):
        self.watch()
        if wanted.reference in self.bad:
            raise LoadRefused(wanted.reference, "is bad")
        endpoint = ScriptedEndpoint(1)
        endpoint.description = replace(endpoint.description, provider=self.provider)
        self.opened.append(endpoint)
        return endpoint

    @property
    def open_n(self) -> int:
        return sum(not endpoint.closed for endpoint in self.opened)


class Site:
    """The tables of a worker without the worker."""

    def __init__(self, after) -> None:
        self.opener = Opener()
        self.metrics = Metrics("0")
        self.leases = Leases(lambda _word: self.opener)
        self.binder = Binder(self.leases, metrics=self.metrics, report=lambda _event: None)
        self.pool = ShadowPool(lambda _result: None)
        self._after = after

    async def start(self, *changes, drain_s: float = 10.0) -> Tables:
        bound = await self.binder.bind(1, self.routes(*changes))
        self.router = Router(bound.table)
        return Tables(self.binder, bound, self.router, self.pool, drain_s)

    def providers(self) -> set[str]:
        """What arms are said to run on."""
        samples = [sample for family in self.metrics.collect() for sample in family.samples]
        return {sample.labels["provider"] for sample in samples if "provider" in sample.labels}

    def routes(self, *changes):
        return tuple(self._after(*changes).routes.values())


@pytest.fixture
def site(after) -> Site:
    return Site(after)


async def until(holds) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


FIRST = Apply(documents())
TIMED = Apply(documents(timeout="2s"))
TWO = Apply(documents() | {"routes/two.yaml": documents(route="two")["routes/digits.yaml"]})


async def test_a_swap_opens_nothing_that_is_open(site):
    tables = await site.start(FIRST)
    await tables.warm(2, site.routes(FIRST, TIMED))
    assert tables.swap(2)
    assert (3, 2) == (len(site.opener.opened), site.router.table.revision)
    assert 2.0 == site.router.route("digits").timeout_s


async def test_an_unchanged_route_keeps_its_meter_and_experiment(site):
    tables = await site.start(FIRST)
    before = site.router.route("digits")
    await tables.warm(2, site.routes(FIRST, TWO))
    tables.swap(2)
    now = site.router.route("digits")
    assert (2, "digits@1", before.meter) == (now.revision, now.experiment, now.meter)
    assert "two@2" == site.router.route("two").experiment


async def test_a_table_waits_for_its_requests(site):
    """A request lives under one revision, until it is recorded."""
    tables = await site.start(FIRST)
    old = site.router.route("digits")
    old.meter.begin()
    gone = Apply(documents(fallback=["old"], arms=_without("dumb")))
    await tables.warm(2, site.routes(FIRST, gone))
    tables.swap(2)
    await asyncio.sleep(0.1)
    assert (3, 1) == (site.opener.open_n, tables.retiring_n)
    old.meter.inflight_n -= 1
    await until(lambda: not tables.retiring_n)
    assert 2 == site.opener.open_n


async def test_a_table_waits_no_longer_than_a_drain(site):
    tables = await site.start(FIRST, drain_s=0.05)
    site.router.route("digits").meter.begin()
    await tables.warm(2, site.routes(FIRST, Apply(documents(fallback=["old"], arms=_without("dumb")))))
    tables.swap(2)
    await until(lambda: not tables.retiring_n)
    assert 2 == site.opener.open_n


async def test_what_cannot_be_opened_is_told_and_changes_nothing(site):
    tables = await site.start(FIRST)
    site.opener.bad.add("file:other.onnx")
    arms = documents()["routes/digits.yaml"].replace("new.onnx", "other.onnx")
    bound = await tables.warm(2, site.routes(FIRST, Apply({"routes/digits.yaml": arms})))
    assert {"route 'digits', arm 'new'"} == set(bound.refused)
    await tables.discard(2)
    assert (False, 1, 3) == (tables.swap(2), site.router.table.revision, site.opener.open_n)


async def test_requests_get_their_turn_while_models_are_opened(site):
    """Opening is work in threads, and each keeps the interpreter for a moment only; afterwards all is as it was."""
    usual_s = sys.getswitchinterval()
    tables = await site.start(FIRST)
    while_opened = []
    site.opener.bad.add("file:other.onnx")
    site.opener.watch = lambda: while_opened.append(sys.getswitchinterval())
    other = documents()["routes/digits.yaml"].replace("new.onnx", "other.onnx")
    await tables.warm(2, site.routes(FIRST, Apply({"routes/digits.yaml": other})))
    assert (True, usual_s) == (0 < max(while_opened) < usual_s, sys.getswitchinterval())


async def test_what_was_given_up_says_nothing_in_metrics(site):
    """What an arm runs on is told of the arm that is live, not of one that was tried and refused."""
    other = Apply({"routes/digits.yaml": documents()["routes/digits.yaml"].replace("new.onnx", "other.onnx")})
    tables = await site.start(FIRST)
    site.opener.provider = "another"
    await tables.warm(2, site.routes(FIRST, other))
    assert {"cpu"} == site.providers()
    await tables.discard(2)
    assert {"cpu"} == site.providers()
    await tables.warm(3, site.routes(FIRST, other))
    tables.swap(3)
    assert {"cpu", "another"} == site.providers()


async def test_what_was_broken_before_holds_up_no_other_change(site):
    site.opener.bad.add("file:new.onnx")
    tables = await site.start(FIRST)
    bound = await tables.warm(2, site.routes(FIRST, TWO))
    assert {"route 'two', arm 'new'"} == set(bound.refused)


async def test_only_the_last_that_was_warmed_waits(site):
    tables = await site.start(FIRST)
    await tables.warm(2, site.routes(FIRST, TWO))
    await tables.warm(3, site.routes(FIRST, TIMED))
    assert (False, True) == (tables.swap(2), tables.swap(3))
    await until(lambda: site.opener.open_n == 3)


async def test_a_hundred_swaps_leave_nothing_behind(site):
    tables = await site.start(FIRST)
    for number in range(2, 102):
        change = (FIRST, TWO, TIMED, Apply(documents(strategy=ramp("2%", f"{number % 40 + 3}%"))))[number % 4]
        site.router.route("digits").meter.begin()
        before = site.router.route("digits")
        await tables.warm(number, site.routes(FIRST, change))
        tables.swap(number)
        before.meter.inflight_n -= 1
    await tables.warm(200, site.routes(FIRST))
    tables.swap(200)
    await until(lambda: not tables.retiring_n)
    assert (3, 3) == (site.opener.open_n, site.leases.endpoints_n)
    cells = site.metrics._routes["digits"]
    assert [site.router.route("digits").meter] == cells.meters
    assert 0 == cells.inflight_n


async def test_the_end_closes_everything(site):
    tables = await site.start(FIRST)
    site.router.route("digits").meter.begin()
    await tables.warm(2, site.routes(FIRST, TIMED))
    tables.swap(2)
    await tables.warm(3, site.routes(FIRST, TWO))
    await tables.close()
    assert 0 == site.opener.open_n


def _without(name: str):
    return {arm: what for arm, what in BASE["arms"].items() if arm != name}


async def test_a_strategy_that_cannot_merge_is_refused_and_the_baseline_answers(site):
    """A word for an output that the model does not have holds up a change, and answers nobody with an error."""
    strategy = {"kind": "interleave", "partners": ["new"], "ids": "no_such_output"}
    bound = await site.binder.bind(1, site.routes(Apply(documents(strategy=strategy))))

    (reason,) = bound.refused.values()
    assert list(bound.refused) == ["route 'digits', strategy"]
    assert "the baseline has no output 'no_such_output', its outputs are y" in reason
    plans = bound.table.routes["digits"].decider.allocation.plans
    assert [(plan.label, plan.merge) for plan in plans] == [("old", None)]
    await bound.lease.end()


async def test_a_strategy_that_can_merge_is_kept(site):
    strategy = {"kind": "interleave", "partners": ["new"], "mode": "both"}
    bound = await site.binder.bind(1, site.routes(Apply(documents(strategy=strategy))))

    assert bound.refused == {}
    assert [plan.label for plan in bound.table.routes["digits"].decider.allocation.plans] == ["old+new"]
    await bound.lease.end()


async def test_an_action_that_no_answer_can_be_is_told_when_models_are_open(site):
    """A model elsewhere declares its outputs only then."""
    bound = await site.binder.bind(1, site.routes(Apply(documents(actions={"block": {"output": "z", "above": 1}}))))
    assert {"route 'digits', actions": "actions.block.output: the baseline has no output 'z', its outputs are y"} == (
        bound.refused
    )
