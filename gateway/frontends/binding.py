"""Taking a port, with one clear line when somebody else has it."""

import errno
import socket

BACKLOG = 2048  # connections the kernel may hold before one is accepted


class PortInUse(Exception):
    """Somebody else listens there already. `what` is the protocol that wanted the port."""

    def __init__(self, port: int, what: str) -> None:
        super().__init__(f"port {port} is in use, so {what} cannot listen there; choose other ports with --port")
        self.port, self.what = port, what


def bind(host: str, port: int, what: str) -> socket.socket:
    """A listening TCP socket; `port` 0 takes any. Raises PortInUse, or OSError for an address that cannot be had."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(port, what) from None
        raise
    return bound
