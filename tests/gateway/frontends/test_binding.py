"""One port for all processes of a gateway, and for no other gateway."""

import socket

import pytest

from gateway.frontends.binding import PortInUse, bind, bind_together


@pytest.fixture
def held():
    """Sockets that are closed at the end."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def test_several_sockets_share_a_port_that_was_free(held):
    held += bind_together("127.0.0.1", 0, "HTTP", 3)

    assert len({each.getsockname() for each in held}) == 1


def test_every_connection_reaches_one_of_them(held):
    held += bind_together("127.0.0.1", 0, "HTTP", 2)
    for each in held:
        each.listen(64)
        each.setblocking(False)
    clients = [socket.create_connection(held[0].getsockname()) for _ in range(64)]
    accepted = [0, 0]
    for place, each in enumerate(held[:2]):
        while True:
            try:
                connection, _ = each.accept()
            except BlockingIOError:
                break
            connection.close()
            accepted[place] += 1
    held += clients

    assert sum(accepted) == 64
    assert min(accepted) > 0  # a fair coin misses one of them once in 10^19 runs


@pytest.mark.parametrize("sockets_n", [1, 2])
def test_another_gateway_on_the_port_is_refused(held, sockets_n):
    """Two gateways that share a port by mistake would each answer half of the requests, and nobody would know why."""
    held += bind_together("127.0.0.1", 0, "HTTP", sockets_n)
    port = held[0].getsockname()[1]
    held[-1].listen()

    for attempt in (lambda: [bind("127.0.0.1", port, "HTTP")], lambda: bind_together("127.0.0.1", port, "HTTP", 2)):
        with pytest.raises(PortInUse, match=f"port {port} is in use, so HTTP cannot listen there"):
            held += attempt()


def test_a_connection_goes_to_those_that_listen(held):
    """A process that is not ready yet is given no work."""
    held += bind_together("127.0.0.1", 0, "HTTP", 3)
    held[1].listen()
    for _ in range(16):
        held.append(socket.create_connection(held[0].getsockname()))
        held.append(held[1].accept()[0])


def test_an_address_that_is_not_here_is_said_as_the_system_says_it():
    with pytest.raises(OSError, match="assign"):
        bind("192.0.2.1", 0, "HTTP")
