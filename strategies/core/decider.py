"""Deciding: the same few lines for every route, whatever its strategy."""

from collections.abc import Mapping
from hashlib import sha256

from msgspec import Struct

from strategies.core.arm import Arm
from strategies.core.assignment import POINTS, SEPARATOR, Allocation, width_of
from strategies.core.enrolment import Gate
from strategies.core.plan import WHOLE_PPM, Decision, Plan, RequestFacts

SHADOWS_LIMIT = 8  # the draws form a bit mask into a prebuilt table, of 2^8 tuples at most


class ShadowDraw(Struct, frozen=True):
    """An arm called in the shadow of a share of the requests; `prefix` is hashed before the event id."""

    arm: Arm
    prefix: bytes
    width: int  # of the 2^64 points

    def is_drawn(self, event_id: bytes) -> bool:
        return int.from_bytes(sha256(self.prefix + event_id).digest()[:8]) < self.width


class ShadowTable:
    """Which arms are called in the shadow of a request: independent draws, and never the arm that serves it."""

    def __init__(self, draws: tuple[ShadowDraw, ...]) -> None:
        if len(draws) > SHADOWS_LIMIT:
            raise ValueError(f"a route has at most {SHADOWS_LIMIT} shadows")
        self._always = sum(1 << bit for bit, draw in enumerate(draws) if draw.width == POINTS)
        self._drawn = [(1 << bit, draw) for bit, draw in enumerate(draws) if draw.width < POINTS]
        self._bit_of = {draw.arm.index: 1 << bit for bit, draw in enumerate(draws)}
        self._arms = [
            tuple(draw.arm for bit, draw in enumerate(draws) if mask >> bit & 1) for mask in range(1 << len(draws))
        ]

    def draw(self, event_id: str, serving: Arm) -> tuple[Arm, ...]:
        mask = self._always
        if self._drawn:
            event = event_id.encode()
            for bit, draw in self._drawn:
                mask |= bit if draw.is_drawn(event) else 0
        return self._arms[mask & ~self._bit_of.get(serving.index, 0)]


def shadow_draw(salt: str, arm: Arm, share_ppm: int) -> ShadowDraw:
    """The coin of one shadow: bits of SHA-256(salt 0x1F "shadow" 0x1F arm 0x1F event id)."""
    prefix = SEPARATOR.join((salt.encode(), b"shadow", arm.name.encode(), b""))
    return ShadowDraw(arm, prefix, POINTS if share_ppm == WHOLE_PPM else width_of(share_ppm))


class Decider(Struct, frozen=True):
    """Decides for one route: override or pin, then enrolment, then the allocation at the unit's point, then shadows.

    `overrides` and `pins` hold a plan for every arm by name.
    """

    allocation: Allocation
    overrides: Mapping[str, Plan]
    pins: Mapping[str, Plan]
    gates: tuple[Gate, ...] = ()
    shadows: ShadowTable | None = None

    def decide(self, facts: RequestFacts) -> Decision:
        plan = self.plan_for(facts)
        if self.shadows is None:
            return Decision(plan)
        drawn = self.shadows.draw(facts.event_id, plan.serve[0])
        if plan.merge is not None:
            drawn = tuple([arm for arm in drawn if arm not in plan.serve])
        return Decision(plan, drawn)

    def plan_for(self, facts: RequestFacts) -> Plan:
        if facts.override:
            return self.overrides[facts.override]
        if facts.pinned:
            return self.pins[facts.pinned]
        for gate in self.gates:
            if gate.leaves_out(facts):
                return gate.instead
        return self.allocation.at(facts.point)
