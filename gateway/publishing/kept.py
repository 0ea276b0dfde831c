"""What is kept for a route from one revision to the next, as the JSON text that a revision stores."""

import msgspec
from msgspec import Struct

from gateway.config.compiled import CompiledRoute
from strategies.core.arm import Arm, Role
from strategies.core.assignment import Allocation
from strategies.core.plan import Plan
from strategies.core.state import RolloutState

GATEWAY = ""  # no route has this name: under it stands what is kept for all of them


class Kept(Struct, frozen=True, omit_defaults=True):
    """One route's. The map of intervals is `starts` (points in hex, the first is 0) with the arm each belongs to.

    `began` is the revision in which the experiment began. `dealt` is what the map's points stand for: the salt, the
    header and parameter of the unit, and the hash, which revisions from before there was a choice leave out. `digests`
    are of the arms' model files, by arm.
    """

    began: int
    dealt: tuple[str, ...]
    starts: tuple[str, ...]
    owners: tuple[str, ...]
    digests: dict[str, str] = {}
    rollout: RolloutState | None = None
    is_expired: bool = False

    def allocation(self) -> Allocation:
        """The map, with plans that know whom they count and nothing else."""
        plans = tuple(Plan(Arm(0, owner, Role.RESERVE, ""), ()) for owner in self.owners)
        return Allocation(tuple(int(start, 16) for start in self.starts), plans)


class KeptForAll(Struct, frozen=True, omit_defaults=True):
    """The gateway's own. `frozen` says why nothing may change, "" while it may; `source` where documents came from.

    `latched` are candidates that were taken back, by route and by what `candidate_key` says of them, with the reason.
    """

    frozen: str = ""
    source: str = ""
    latched: dict[str, dict[str, str]] = {}


def kept_of(
    route: CompiledRoute, began: int, digests: dict[str, str], rollout: RolloutState | None, *, is_expired: bool
) -> Kept:
    """What to keep for a route that was compiled."""
    allocation = route.decider.allocation
    return Kept(
        began=began,
        dealt=dealt_of(route),
        starts=tuple(f"{start:016x}" for start in allocation.starts),
        owners=tuple(plan.assigned.name if plan.assigned else "" for plan in allocation.plans),
        digests=digests,
        rollout=rollout,
        is_expired=is_expired,
    )


def dealt_of(route: CompiledRoute) -> tuple[str, ...]:
    """What the points of a route's map stand for. A map may be inherited while this stays the same."""
    return route.salt, route.unit.header.decode(), route.unit.parameter, route.hash.value


def write(kept: Kept | KeptForAll) -> str:
    return msgspec.json.encode(kept, order="deterministic").decode()


def read(text: str) -> Kept:
    """Raises msgspec.ValidationError for what is not ours."""
    return msgspec.json.decode(text, type=Kept)


def read_for_all(text: str) -> KeptForAll:
    return msgspec.json.decode(text, type=KeptForAll)
