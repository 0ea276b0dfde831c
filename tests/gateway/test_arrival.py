"""Ids at the door."""

import pytest

from gateway.arrival import Arrival, EventIds, context_of, request_id_of
from observability.propagation import Trace


def test_event_ids_never_repeat():
    """Two processes and many requests later, an id still means one request."""
    minters = EventIds(), EventIds()
    ids = [minter.mint() for minter in minters for _ in range(1000)]

    assert len(set(ids)) == 2000


@pytest.mark.parametrize(
    ("header", "body_id", "expected"),
    [
        ("r-1", "b-1", "r-1"),
        ("", "b-1", "b-1"),
        ("x" * 129, "b-1", "b-1"),
        ("a\rb", "b-1", "b-1"),
        ("naïve", "b-1", "b-1"),
    ],
)
def test_the_callers_id_is_echoed_if_it_can_be(arrive, header, body_id, expected):
    assert request_id_of(arrive(x_request_id=header), body_id) == expected


def test_without_an_id_the_event_is_the_request(arrive):
    arrival = arrive()

    assert request_id_of(arrival, "") == arrival.event_id


def test_another_server_learns_which_request_and_trace_it_works_for():
    """A trace does not end at the gateway, and neither does the id a caller asks about."""
    trace = Trace("a" * 32, "b" * 16, sampled=True, flags=1, tracestate="k=v")
    headers = {b"x-request-id": b"r-1", b"baggage": b"user=7", b"cookie": b"secret"}
    arrival = Arrival(0.0, 0.0, "e", "http", headers, trace=trace)

    assert context_of(arrival, "b-1") == {
        "x-request-id": "r-1",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "tracestate": "k=v",
        "baggage": "user=7",
    }


def test_without_a_trace_only_the_id_goes_onward(arrive):
    assert context_of(arrive(), "b-1") == {"x-request-id": "b-1"}
