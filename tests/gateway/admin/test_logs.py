"""Logs of replicas over HTTP: whose they are, and in words why there are none."""

import pytest
from msgspec.structs import replace

from gateway.admin.api import admin_app
from runners.core.runner import Hosting
from runners.ray.logs import LogsAway, LogTail
from runners.ray.wanted import Tailed
from tests.gateway.admin.conftest import HOSTS

PATH = "/v1/arms/new/logs"


class Meant:
    """A publisher whose routes are these."""

    def __init__(self, routes):
        self.meaning = self
        self.routes = {each.name: each for each in routes}


@pytest.fixture
def route(compile_changed):
    def made(name="digits", key="turnout-1"):
        compiled = compile_changed()
        arms = [
            replace(each, model=replace(each.model, hosting=Hosting(key))) if each.arm.name == "new" else each
            for each in compiled.arms
        ]
        return replace(compiled, name=name, arms=tuple(arms))

    return made


@pytest.fixture
def ask(site):
    async def asked(routes, tail, path=PATH):
        site.app = admin_app(Meant(routes), site.shelf, "1.2.3", HOSTS, tail)
        async with site.client() as client:
            told = await client.get(path)
        return told.status_code, told.json()

    return asked


async def tail(name, lines_n):
    return Tailed(1, (LogTail("r1", "10.0.0.1", (f"{name} {lines_n}",)),), "a node is silent")


async def test_the_last_lines_of_each_replica_are_told(ask, route):
    status, told = await ask([route()], tail, f"{PATH}?lines=7")
    assert (200, "digits", "turnout-1", "a node is silent") == (
        *(status, told["route"], told["application"], told["trouble"]),
    )
    assert [{"replica": "r1", "node": "10.0.0.1", "lines": ["turnout-1 7"]}] == told["replicas"]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/v1/arms/nwe/logs", 404, "no arm is called 'nwe'; there is dumb, new, old"),
        ("/v1/arms/new/logs?route=digit", 404, "no route is called 'digit'; there is digits"),
        ("/v1/arms/old/logs", 409, "arm 'old' of route 'digits' is run by the gateway itself"),
    ],
)
async def test_who_asks_for_what_is_not_there_is_told_what_is(ask, route, path, status, says):
    found, told = await ask([route()], tail, path)
    assert status == found
    assert says in told["error"]


async def test_an_arm_that_the_gateway_runs_has_its_log_for_a_place(ask, route):
    told = (await ask([route()], tail, "/v1/arms/old/logs"))[1]["error"]
    assert "in the gateway's own log, which turnout serve writes to standard error" in told


async def test_while_ray_is_away_that_is_told(ask, route):
    async def away(_name, _lines_n):
        raise LogsAway("the Ray cluster does not answer: nobody can be reached there")

    assert (503, "the Ray cluster does not answer: nobody can be reached there") == (
        *(each if isinstance(each, int) else each["error"] for each in await ask([route()], away)),
    )
    assert 503 == (await ask([route()], None))[0]


async def test_of_two_routes_with_arms_of_one_name_one_must_be_named(ask, route):
    routes = [route(), route("other", "turnout-2")]
    status, told = await ask(routes, tail)
    assert (409, "routes digits, other have an arm 'new'; say which: route") == (status, told["error"])
    assert "turnout-2" == (await ask(routes, tail, f"{PATH}?route=other"))[1]["application"]


async def test_two_routes_that_share_what_is_hosted_share_its_logs(ask, route):
    assert 200 == (await ask([route(), route("other")], tail))[0]
