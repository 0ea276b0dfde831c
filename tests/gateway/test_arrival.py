"""Ids at the door."""

import pytest

from gateway.arrival import EventIds, request_id_of


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
