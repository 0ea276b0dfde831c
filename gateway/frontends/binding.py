"""Taking a port, alone or for several processes of one gateway, with one clear line when somebody else has it."""

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
    bound = _socket(host, port, what)
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _refusal(error, port, what) from None
    return bound


def bind_together(host: str, port: int, what: str, sockets_n: int) -> list[socket.socket]:
    """Sockets on one port, none of which listens yet; among those that do the kernel divides new connections.

    The first takes the port as if for itself, so that another gateway there is noticed, and then lets the others in.
    Raises as `bind` does.
    """
    bound = [_socket(host, port, what)]
    bound[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    taken = bound[0].getsockname()[1]
    while len(bound) < sockets_n:
        bound.append(join(host, taken, what))
    return bound


def join(host: str, port: int, what: str) -> socket.socket:
    """One more socket on a port that this gateway has; it does not listen yet. Raises as `bind` does."""
    return _socket(host, port, what, joining=True)


def _socket(host: str, port: int, what: str, *, joining: bool = False) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        if joining:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _refusal(error, port, what) from None
    return bound


def _refusal(error: OSError, port: int, what: str) -> Exception:
    return PortInUse(port, what) if error.errno == errno.EADDRINUSE else error
