"""Who serves an arm: the replicas that a hop's endpoint is told of, and where each of them listens."""

from enum import StrEnum

from msgspec import Struct

APPLICATION = "turnout-"  # what the names of our applications begin with; those of others are not touched


class State(StrEnum):
    """What is known of a replica. Only READY ones are sent requests; GONE is the one word that ends a connection."""

    STARTING = "starting"  # not to be connected to yet
    READY = "ready"
    DRAINING = "draining"  # answers what it has and gets nothing new
    GONE = "gone"


class Address(Struct, frozen=True):
    """Where a replica listens: a socket file on its own machine, a port, or both. "" and 0 are absent.

    A socket file is tried first, wherever a file of that name exists.
    """

    unix: str = ""
    host: str = ""
    port: int = 0


class Member(Struct, frozen=True):
    """One replica of one arm. `replica` is unique for all time; it repeats it in its greeting.

    `arm_key` names what is served, so that one membership can speak of many arms; `node` is where, for people. A detour
    (bundle.py) leads to replicas whose own sockets cannot be reached, and is taken only while no replica's can.
    """

    arm_key: str
    replica: str
    address: Address
    node: str = ""
    state: State = State.READY
    is_detour: bool = False


class Membership(Struct, frozen=True):
    """All replicas known at one moment. One with a `seq` that is not larger than the last is stale and ignored.

    Whoever counts `seq` must never begin again below what it said before: its clock in nanoseconds is a good start.
    A replica that is not listed any more is not thereby gone: the list may be of somebody who has just begun to look.
    """

    seq: int
    members: tuple[Member, ...]

    def of(self, arm_key: str) -> tuple[Member, ...]:
        return tuple([member for member in self.members if member.arm_key == arm_key])


NOBODY = Membership(0, ())
