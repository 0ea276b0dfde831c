"""What somebody can ask for, as values, and how it is refused."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from gateway.state.revision import Cause
from strategies.rollout.machine import Verb


class Apply(Struct, frozen=True):
    """Documents in place of those that are live, all of them, by path.

    Rollouts of the routes in `restart` begin again at their first step, those in `steps` climb on from that step, from
    1. `source` says where the documents came from.
    """

    documents: Mapping[str, str]
    restart: frozenset[str] = frozenset()
    source: str = ""
    steps: Mapping[str, int] = {}


class Undo(Struct, frozen=True):
    """The documents of an earlier revision; 0 stands for the one before those that are live. Rollouts stay."""

    to_revision: int = 0
    restart: frozenset[str] = frozenset()


class Operate(Struct, frozen=True):
    """A move of one route's rollout."""

    route: str
    verb: Verb
    reason: str = ""


class Freeze(Struct, frozen=True):
    """From now on nothing changes but for rollback and hold. An empty reason lifts it."""

    reason: str


class Expire(Struct, frozen=True):
    """Take back what has expired. The gateway asks for this itself, when a day begins."""


Change = Apply | Undo | Operate | Freeze | Expire


class Request(Struct, frozen=True):
    """A change that somebody asks for. `expects` is the revision it was made for, -1 for whichever is live."""

    change: Change
    author: str
    cause: Cause
    reason: str = ""
    expects: int = -1


class ChangeRefused(Exception):
    """A change that cannot be made, with every reason in words. Nothing has changed."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))
