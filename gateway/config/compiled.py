"""What documents come to: values that serving needs, and that nothing of their parser comes along with."""

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from gateway.actions import Action
from gateway.facts import Gatherer, Source
from gateway.overrides import may_force
from gateway.routing.table import ShadowTerms
from gateway.slicing import Slicing
from gateway.tally import Trial
from runners.core.runner import ModelRef
from runners.ray.members import APPLICATION
from strategies.core.arm import Arm
from strategies.core.decider import Decider
from strategies.core.enrolment import Draw, Holdout, Slots
from strategies.core.hashes import HASHES, HashName
from strategies.core.plan import Plan
from strategies.core.state import RouteState


class CompiledArm(Struct, frozen=True):
    """An arm and how to open it. `is_shadowed` asks for a session of its own for calls nobody waits for.

    `digest` is the SHA-256 that the model's file had when the revision was made, "" where there is no file here.
    """

    arm: Arm
    runner: str
    model: ModelRef
    is_shadowed: bool
    digest: str = ""

    def identified(self, digest: str) -> "CompiledArm":
        """The arm with its file's digest; hosted elsewhere under a name that comes of that and of how it is run."""
        hosting = self.model.hosting
        if hosting is None:
            return replace(self, digest=digest)
        unnamed = replace(self.model, hosting=replace(hosting, key=""), root=Path())  # gateways may keep it elsewhere
        key = APPLICATION + sha256(f"{digest} {unnamed!r}".encode()).hexdigest()[:16]
        return replace(self, digest=digest, model=replace(self.model, hosting=replace(hosting, key=key)))

    @property
    def key(self) -> str:
        """What is opened for it: equal for arms that an endpoint of the same kind could serve."""
        return f"{self.runner} {self.digest} {self.model!r}{' shadowed' if self.is_shadowed else ''}"


class CompiledRoute(Struct, frozen=True):
    """All of a route that can be known without opening a model.

    `began` is the revision in which its experiment began, 0 for the one that it is served under first. Two routes of
    one `fingerprint` are the same in every respect; "" is like no other. `state` is what it was compiled for.
    """

    name: str
    salt: str
    strategy: str
    arms: tuple[CompiledArm, ...]
    plans: tuple[Plan, ...]
    fallback: tuple[str, ...]
    shadows: Mapping[str, int]  # arm -> share of the requests it is called with, in ppm
    decider: Decider
    attribute_names: tuple[str, ...]
    unit_kind: str
    unit: Source
    attributes: tuple[Source, ...]
    timeout_s: float
    is_pinnable: bool
    is_critical: bool
    notice: str = ""  # why it does less than was written
    began: int = 0
    hash: HashName = HashName.SHA256
    fingerprint: str = ""
    shadow_terms: Mapping[str, ShadowTerms] = {}  # arm -> how its answers are compared, where that was written
    coin_salt: str = ""  # what the coins of merged answers are hashed with
    state: RouteState = None
    actions: tuple[Action, ...] = ()
    slicings: tuple[Slicing, ...] = ()

    def experiment(self, revision: int) -> str:
        """The name under which evidence is kept, for a route that is first served by `revision`."""
        return f"{self.name}@{self.began or revision}"

    def trial(self, revision: int) -> Trial:
        """What its requests are counted as; in the shares are those arms that are counted and no others."""
        shares = {plan.assigned.name: plan.share_ppm for plan in self.plans if plan.assigned is not None}
        arms = tuple(each.arm.name for each in self.arms)
        step, slow_s = (self.state.step, self.state.slow_s) if self.state else (0, ())
        return Trial(self.experiment(revision), step, shares, arms, slow_s, self.actions, self.slicings)

    @property
    def holdout(self) -> Draw | None:
        """Who meets no experiment, None when everybody may."""
        return next((gate.draw for gate in self.decider.gates if isinstance(gate, Holdout)), None)

    @property
    def slots(self) -> Slots | None:
        """The route's part of its layer, None when it is in none."""
        return next((gate for gate in self.decider.gates if isinstance(gate, Slots)), None)

    @property
    def identity(self) -> tuple[object, ...]:
        """What a point of the map stands for: a map may be inherited while this stays the same."""
        return self.hash, self.salt, self.unit

    def point_of(self, unit: bytes) -> int:
        """Where on the map a unit lies."""
        return HASHES[self.hash].at(self.salt, unit)

    def gatherer(self, override_token: bytes) -> Gatherer:
        """What turns requests into this route's facts."""
        return Gatherer(
            salt=self.salt,
            unit=self.unit,
            attributes=self.attributes,
            arms=frozenset(compiled.arm.name for compiled in self.arms),
            may_force=partial(may_force, override_token, self.name),
            hash_name=self.hash,
        )
