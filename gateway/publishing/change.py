"""What somebody can ask for, as values, and how it is refused."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from gateway.state.revision import Cause
from strategies.core.state import RolloutState
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


class Conduct(Struct, frozen=True):
    """Where one route's rollout stands now, after a look at its evidence. The gateway asks for this itself."""

    route: str
    state: RolloutState


Change = Apply | Undo | Operate | Freeze | Expire | Conduct


ANY = -1  # in the place of a revision's number


class Request(Struct, frozen=True):
    """A change that somebody asks for. `expects` is the revision that it was made for."""

    change: Change
    author: str
    cause: Cause
    reason: str = ""
    expects: int = ANY


def story(request: Request) -> str:
    """What was asked for and why, for the history. Of documents the difference tells more than words could."""
    match request.change:
        case Operate(route, verb):
            what = f"{verb} {route}"
        case Undo(to_revision) if to_revision:
            what = f"back to revision {to_revision}"
        case Freeze(reason):
            what = "freeze" if reason else "lift the freeze"
        case _:
            what = ""
    return ": ".join(filter(None, (what, request.reason)))


class ChangeRefused(Exception):
    """A change that cannot be made, with every reason in words. Nothing has changed."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))
