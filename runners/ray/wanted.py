"""What the gateway and its agent say to each other: what shall be hosted, and what is.

Lines of JSON over a pair of sockets. All that is wanted is said at once, each time anew, so either side may begin anew.
"""

from types import MappingProxyType

import msgspec
from msgspec import Struct

from runners.core.runner import ModelRef
from runners.ray.logs import LogTail
from runners.ray.members import Membership


class App(Struct, frozen=True):
    """An application to host. `model.hosting.key` is its name; paths are those of the machine that sends the files."""

    model: ModelRef

    @property
    def name(self) -> str:
        assert self.model.hosting is not None
        return self.model.hosting.key


class Want(Struct, frozen=True, tag="want"):
    """Host these and no others of ours, but leave those in `keep` alone: other gateways want them."""

    apps: tuple[App, ...] = ()
    keep: tuple[str, ...] = ()


class Wake(Struct, frozen=True, tag="wake"):
    """Somebody asked an application that has no replica."""

    name: str


class Tail(Struct, frozen=True, tag="tail"):
    """Read the last lines of the logs of an application's replicas; the answer has this number."""

    number: int
    name: str
    lines_n: int


class AppSeen(Struct, frozen=True):
    """One application as Ray Serve sees it. `status` is Serve's word, or REFUSED for files that cannot be sent."""

    name: str
    status: str
    message: str = ""


class Seen(Struct, frozen=True, tag="seen"):
    """What is hosted now. `trouble` says why nobody can tell, "" while the cluster answers."""

    membership: Membership
    apps: tuple[AppSeen, ...] = ()
    trouble: str = ""


class Tailed(Struct, frozen=True, tag="tailed"):
    """The answer to `Tail`. `trouble` says whose could not be read."""

    number: int
    tails: tuple[LogTail, ...]
    trouble: str = ""


Order = Want | Wake | Tail
Said = Seen | Tailed


def line(message: Struct) -> bytes:
    """A message as a line."""
    return msgspec.json.encode(message, enc_hook=plain) + b"\n"


def read_order(text: bytes) -> Order:
    """Raises msgspec.DecodeError for what is no order."""
    order: Order = _ORDERS.decode(text)
    return order


def read_said(text: bytes) -> Said:
    """What an agent says. Raises msgspec.DecodeError for what is no report."""
    said: Said = _SAID.decode(text)
    return said


def plain(value: object) -> object:
    """What msgspec does not know: paths, and read-only views of dictionaries."""
    return dict(value) if isinstance(value, MappingProxyType) else str(value)


def path_of(kind: type, value: object) -> object:
    """A path from its text."""
    return kind(value)


_ORDERS = msgspec.json.Decoder(Order, dec_hook=path_of)
_SAID = msgspec.json.Decoder(Said)
