"""The ports of a gateway, taken before any worker runs and held until all are told to stop."""

import socket
from collections.abc import Iterator

from msgspec import Struct

from gateway.frontends.binding import bind_together


class Doors(Struct, frozen=True):
    """One socket a worker on each port. Each listens from the moment its worker is ready.

    The control process holds them too, so a worker that dies leaves its connections that nobody had accepted yet to the
    one that takes its place.
    """

    http: tuple[socket.socket, ...]
    grpc: tuple[socket.socket, ...]

    @property
    def http_port(self) -> int:
        return int(self.http[0].getsockname()[1])

    @property
    def grpc_port(self) -> int:
        return int(self.grpc[0].getsockname()[1])

    def sockets(self) -> Iterator[socket.socket]:
        yield from self.http
        yield from self.grpc

    def close(self) -> None:
        for each in self.sockets():
            each.close()


def open_doors(host: str, http_port: int, grpc_port: int, workers_n: int) -> Doors:
    """Take both ports; 0 takes any. Raises PortInUse, or OSError for an address that cannot be had."""
    http = bind_together(host, http_port, "HTTP", workers_n)
    try:
        grpc = bind_together(host, grpc_port, "gRPC", workers_n)
    except BaseException:
        for each in http:
            each.close()
        raise
    return Doors(tuple(http), tuple(grpc))
