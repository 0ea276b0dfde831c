"""The ports of a gateway, taken before any worker runs and held until all are told to stop."""

import socket
from contextlib import suppress

from gateway.frontends.binding import bind_together, join


class Doors:
    """One socket a worker on each port. Each listens from the moment its worker is ready.

    They are held here too, so a worker that dies leaves the connections that nobody had accepted yet to the one that
    takes its place; unless that takes long, and `renew` sends them away.
    """

    def __init__(self, host: str, http_port: int, grpc_port: int, workers_n: int) -> None:
        """Take both ports; 0 takes any. Raises PortInUse, or OSError for an address that cannot be had."""
        self._host = host
        self._http = bind_together(host, http_port, "HTTP", workers_n)
        try:
            self._grpc = bind_together(host, grpc_port, "gRPC", workers_n)
        except BaseException:
            _close(self._http)
            raise
        self.http_port: int = self._http[0].getsockname()[1]
        self.grpc_port: int = self._grpc[0].getsockname()[1]

    def of(self, slot: int) -> tuple[int, int]:
        """The descriptors, HTTP and gRPC, of one worker."""
        return self._http[slot].fileno(), self._grpc[slot].fileno()

    def renew(self, slot: int) -> None:
        """Give a slot new sockets, while nobody is in it: those who connect go to others until its worker is ready."""
        with suppress(OSError):  # no descriptor to be had: the old ones will do
            for sockets, port, what in ((self._http, self.http_port, "HTTP"), (self._grpc, self.grpc_port, "gRPC")):
                before, sockets[slot] = sockets[slot], join(self._host, port, what)
                before.close()

    def close(self) -> None:
        _close(self._http)
        _close(self._grpc)


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()
