"""The routing table: one revision bound to live endpoints, every look-up already done."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from gateway.arrival import Arrival
from gateway.comparing.tolerance import Tolerance
from gateway.tally import RouteTally
from observability.meter import RouteMeter
from runners.core.runner import Endpoint
from runners.core.tensor import InferenceRequest
from strategies.core.arm import Arm
from strategies.core.decider import Decider
from strategies.core.plan import RequestFacts


class BoundArm(Struct, frozen=True):
    """An arm with what is behind it. `background` is the session of its own that shadow calls use, if it has any."""

    arm: Arm
    endpoint: Endpoint
    background: Endpoint | None = None

    @property
    def version(self) -> str:
        return self.endpoint.description.version


class ShadowTerms(Struct, frozen=True):
    """How a shadow's answers are compared: within which tolerance, by default the datatype's; whether both are kept."""

    tolerance: Tolerance | None = None
    capture: bool = False


class BoundRoute(Struct, frozen=True):
    """A public model name and all that stands behind it. `arms` are in the order of their `arm.index`.

    `asks_others` says that an arm is on another server, which is to learn which request and trace it works for.
    `coin_salt` is what the coins of merged answers are hashed with.
    `tally` counts for evidence; None where nobody reads any.
    """

    name: str
    revision: int
    experiment: str
    strategy: str
    arms: tuple[BoundArm, ...]
    decider: Decider
    gather: Callable[[InferenceRequest, Arrival], RequestFacts]
    attribute_names: tuple[str, ...]
    unit_kind: str
    timeout_s: float
    is_critical: bool
    meter: RouteMeter
    asks_others: bool = False
    shadow_terms: Mapping[str, ShadowTerms] = {}  # arm -> what was written for it
    coin_salt: str = ""
    tally: RouteTally | None = None

    @property
    def baseline(self) -> BoundArm:
        return next(bound for bound in self.arms if bound.arm.role == "baseline")


class RoutingTable(Struct, frozen=True):
    """All routes of one revision, and those that could not be bound with the reason why."""

    revision: int
    routes: Mapping[str, BoundRoute]
    quarantined: Mapping[str, str]
