"""The path of one request, from a public name to an outcome."""

import asyncio

import pytest
from msgspec.structs import replace

from gateway.errors import OverrideRefused, UnknownModel
from gateway.execution.shadows import ShadowPool
from gateway.routing.router import Router
from gateway.routing.table import RoutingTable
from gateway.service import Service
from runners.core.errors import ExecutionFailed, InvalidInput
from runners.core.tensor import InferenceRequest


@pytest.fixture
def serve(bind):
    """A service over one route, and the shadow results it reported."""

    def service(**changes: object) -> tuple[Service, list]:
        reported: list = []
        return Service(Router(RoutingTable(1, {"digits": bind(**changes)}, {})), ShadowPool(reported.append)), reported

    return service


async def answer(service: Service, request, arrival):
    routed = service.route(request, arrival)
    return routed, await service.answer(routed, arrival)


async def test_a_request_is_answered_by_the_arm_its_unit_belongs_to(serve, ask, arrive):
    service, _ = serve()
    routed, outcome = await answer(service, ask(), arrive(x_turnout_unit="user-1"))

    assert routed.decision.plan.assigned.name == outcome.answered.arm.name == "new"


async def test_deciding_calls_no_model(serve, endpoints, ask, arrive):
    serve()[0].route(ask(), arrive())

    assert all(endpoint.calls == [] for endpoint in endpoints.values())


async def test_the_deadline_is_the_routes_unless_the_caller_has_one(serve, ask, arrive):
    service, _ = serve(timeout="250ms")
    arrival, hasty = arrive(), arrive(timeout_s=0.1)

    assert service.route(ask(), arrival).deadline_at == pytest.approx(arrival.started_at + 0.25)
    assert service.route(ask(), hasty).deadline_at == pytest.approx(hasty.started_at + 0.1)


async def test_a_caller_may_forbid_the_fallback(serve, endpoints, ask, arrive):
    endpoints["new"].script = ExecutionFailed("x")
    _, outcome = await answer(serve()[0], ask(), arrive(x_turnout_fallback="never"))

    assert outcome.answered is None


async def test_an_unknown_model_is_not_found(serve, ask, arrive):
    with pytest.raises(UnknownModel):
        serve()[0].route(InferenceRequest("nobody", ask().inputs), arrive())


async def test_a_refused_request_is_not_under_way(serve, bind, ask, arrive):
    """The gauge of requests under way counts only those that will be recorded with their route."""
    route = bind()
    service = Service(Router(RoutingTable(1, {"digits": route}, {})), ShadowPool(print))
    with pytest.raises(OverrideRefused):
        service.route(ask(), arrive(x_turnout_arm="new"))

    assert route.meter.begun == 0


async def test_shadows_follow_an_answer(serve, endpoints, ask, arrive):
    service, reported = serve(strategy={"kind": "baseline"}, shadow=[{"candidate": "new"}])
    _, outcome = await answer(service, ask(), arrive())
    async with asyncio.timeout(10):
        while not reported:
            await asyncio.sleep(0.001)

    assert (outcome.answered.arm.name, reported[0].call.bound.arm.name) == ("old", "new")


async def test_a_request_that_fits_no_model_has_no_shadow(serve, endpoints, ask, arrive):
    """What the caller got wrong would only fail again."""
    endpoints["old"].script = InvalidInput("wrong shape")
    service, reported = serve(strategy={"kind": "baseline"}, shadow=[{"candidate": "new"}])
    await answer(service, ask(), arrive())
    await asyncio.sleep(0)

    assert reported == []
    assert endpoints["new"].calls == []


@pytest.mark.parametrize(("asks_others", "expected"), [(False, {}), (True, {"x-request-id": "r-1"})])
async def test_only_a_route_that_asks_others_gathers_what_they_are_told(bind, ask, arrive, asks_others, expected):
    """A route of models held here pays nothing for those that are not."""
    route = replace(bind(), asks_others=asks_others)
    service = Service(Router(RoutingTable(1, {"digits": route}, {})), ShadowPool(print))

    assert service.route(ask(), arrive(x_request_id="r-1")).request.context == expected
