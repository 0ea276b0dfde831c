"""Plans: what shall be done with a request, decided once per revision and shared by all requests that draw it."""

from enum import StrEnum

from msgspec import Struct

from strategies.core.arm import Arm, Arms
from strategies.core.merge import Merge

WHOLE_PPM = 1_000_000


class Reason(StrEnum):
    """Why a request has the plan it has."""

    SPLIT = "split"  # the unit's point fell into the arm's share
    ONLY_ARM = "only_arm"  # nothing to choose between
    NOT_ENROLLED = "not_enrolled"  # outside the audience or the layer's range: the baseline answers, nothing is counted
    OVERRIDE = "override"  # a trusted caller forced the arm; never evidence
    PINNED = "pinned"  # the caller asked for an exact version; never evidence
    HELD_OUT = "held_out"  # meets no experiment on any route: the baseline answers, nothing is counted


class RequestFacts(Struct, frozen=True, gc=False):
    """All that a strategy may know of a request.

    `point` lies in [0, 2^64): the unit's place on the route's line. `unit` is the text that was hashed, or "" when the
    request brought none and stands for itself. `attributes` are in the order the route declares them; "" is absent.
    `override` and `pinned` are names of arms, "" for none.
    """

    event_id: str
    unit: str
    point: int
    attributes: tuple[str, ...] = ()
    override: str = ""
    pinned: str = ""


class Plan(Struct, frozen=True):
    """Which arm is counted, which are called on the client's time, and who steps in.

    `assigned` is None for requests that are nobody's evidence. `share_ppm` is the probability of this plan given
    enrolment, in parts per million. `merge` says how the answers of all that serve become one; the first of them must
    answer, the others may. Without it one serves.
    """

    assigned: Arm | None
    serve: tuple[Arm, ...]
    fallback: tuple[Arm, ...] = ()
    share_ppm: int = WHOLE_PPM
    reason: Reason = Reason.SPLIT
    merge: Merge | None = None

    @property
    def label(self) -> str:
        """Who answers, for people: the arm, or all whose answers are merged."""
        return "+".join([arm.name for arm in self.serve])


class Decision(Struct, frozen=True, gc=False):
    """What one request got: a prebuilt plan, and the arms that will be called in the shadow."""

    plan: Plan
    shadows: tuple[Arm, ...] = ()


def answering(arm: Arm, share_ppm: int, arms: Arms) -> Plan:
    """The plan in which `arm` answers and is counted, with the route's fallbacks behind it."""
    reason = Reason.ONLY_ARM if share_ppm == WHOLE_PPM else Reason.SPLIT
    return Plan(assigned=arm, serve=(arm,), fallback=arms.chain_after(arm), share_ppm=share_ppm, reason=reason)


def merging(partners: tuple[Arm, ...], merge: Merge, share_ppm: int, arms: Arms) -> Plan:
    """The plan in which the baseline and its partners answer together. What people prefer in it counts, not an arm."""
    baseline = arms.baseline
    return Plan(
        assigned=None,
        serve=(baseline, *partners),
        fallback=arms.chain_after(baseline),
        share_ppm=share_ppm,
        merge=merge,
    )


def uncounted(arm: Arm, reason: Reason, arms: Arms) -> Plan:
    """The plan in which `arm` answers but the request is nobody's evidence."""
    return Plan(assigned=None, serve=(arm,), fallback=arms.chain_after(arm), reason=reason)
