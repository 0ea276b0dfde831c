"""Ports that stay the gateway's while workers come and go."""

import socket

import pytest

from gateway.control.doors import Doors
from gateway.frontends.binding import PortInUse, bind


@pytest.fixture
def doors():
    opened = Doors("127.0.0.1", 0, 0, 2)
    yield opened
    opened.close()


def listening(doors, slot):
    """A worker's socket: the same one, by a descriptor of its own."""
    fd, _ = doors.of(slot)
    borrowed = socket.socket(fileno=fd)
    worker = borrowed.dup()
    borrowed.detach()
    worker.listen(16)
    worker.settimeout(10)
    return worker


def test_who_connected_before_a_death_is_accepted_after_it(doors):
    dying = listening(doors, 0)
    with socket.create_connection(("127.0.0.1", doors.http_port)) as client:
        dying.close()
        with listening(doors, 0) as heir, heir.accept()[0] as accepted:
            assert accepted.getpeername() == client.getsockname()


def test_a_renewed_slot_sends_everybody_to_the_others(doors):
    with listening(doors, 1) as other:
        listening(doors, 0).close()  # its worker died
        doors.renew(0)
        for _ in range(16):
            with socket.create_connection(("127.0.0.1", doors.http_port)), other.accept()[0]:
                pass


def test_a_renewed_slot_can_be_served_again(doors):
    listening(doors, 0).close()
    doors.renew(0)
    with listening(doors, 0) as heir, socket.create_connection(("127.0.0.1", doors.http_port)), heir.accept()[0]:
        pass


def test_a_port_in_use_leaves_the_other_one_free():
    with bind("127.0.0.1", 0, "gRPC") as taken, bind("127.0.0.1", 0, "HTTP") as probe:
        port = probe.getsockname()[1]
        probe.close()
        with pytest.raises(PortInUse, match="gRPC"):
            Doors("127.0.0.1", port, taken.getsockname()[1], 2)
        bind("127.0.0.1", port, "HTTP").close()
