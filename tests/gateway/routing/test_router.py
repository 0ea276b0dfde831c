"""Finding what stands behind a public name."""

import pytest

from gateway.errors import UnknownModel
from gateway.routing.router import Router
from gateway.routing.table import RoutingTable
from runners.core.errors import NotReady


def test_a_known_name_finds_its_route(bind):
    route = bind()

    assert Router(RoutingTable(1, {"digits": route}, {})).route("digits") is route


def test_an_unknown_name_is_answered_with_the_nearest(bind):
    with pytest.raises(UnknownModel, match="no model 'digit' here; did you mean 'digits'"):
        Router(RoutingTable(1, {"digits": bind()}, {})).route("digit")


def test_a_quarantined_route_says_why():
    with pytest.raises(NotReady, match="'digits' is not ready: no such file"):
        Router(RoutingTable(1, {}, {"digits": "no such file"})).route("digits")


def test_a_swap_returns_the_table_it_replaces(bind):
    first, second = RoutingTable(1, {}, {}), RoutingTable(2, {"digits": bind()}, {})
    router = Router(first)

    assert router.swap(second) is first
    assert router.table is second
