"""Binding: open the models that a compiled revision names and put everything a request needs within its reach."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import time

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.compiled import CompiledArm, CompiledRoute
from gateway.config.countable import output_problems
from gateway.config.likeness import difference_of
from gateway.config.mergeable import merge_problems
from gateway.routing.broken import BrokenEndpoint
from gateway.routing.leases import Lease, Leases
from gateway.routing.table import BoundArm, BoundRoute, RoutingTable
from gateway.tally import Tallies
from observability.event import LifeEvent
from observability.metrics import Metrics
from runners.core.batching import Batches
from runners.core.errors import LoadRefused
from runners.core.runner import Description, Endpoint
from runners.ray.endpoint import HopEndpoint
from strategies.core.arm import Arm, Role
from strategies.core.decider import Decider
from strategies.core.spec import Problem

LOG = logging.getLogger("turnout.bind")


class Bound(Struct, frozen=True):
    """A table, and what is behind it. `refused` are the arms that could not be opened for it, with the reason."""

    table: RoutingTable
    compiled: Mapping[str, CompiledRoute]
    lease: Lease
    refused: Mapping[str, str]

    @property
    def is_whole(self) -> bool:
        """Whether every route that matters can be answered."""
        return all(name in self.table.routes for name, route in self.compiled.items() if route.is_critical)

    def show(self) -> None:
        """Have metrics say what its arms run on, once it is live: one that is given up is nobody's news."""
        for route in self.table.routes.values():
            for bound in route.arms:
                known = bound.endpoint.description
                route.meter.set_provider(bound.arm.name, known.provider, degraded=bool(known.degraded))
                if isinstance(bound.endpoint, Batches):
                    route.meter.watch_batches(bound.arm.name, bound.endpoint.batch_counts)
                if isinstance(bound.endpoint, HopEndpoint):
                    route.meter.watch_replicas(bound.arm.name, bound.endpoint.counts)

    def has(self, route: CompiledRoute) -> bool:
        """Whether this table was made for a route that is the same in every respect."""
        mine = self.compiled.get(route.name)
        return mine is not None and mine.fingerprint == route.fingerprint != ""

    def amiss_in(self, route: CompiledRoute) -> frozenset[str]:
        """The places of arms that are broken here, and are no others in `route`.

        They hold up no change. Least of all one that takes units away from them.
        """
        mine, bound = self.compiled.get(route.name), self.table.routes.get(route.name)
        if mine is None or bound is None:
            return frozenset()
        keys = {each.arm.name: each.key for each in route.arms}
        return frozenset(
            _place(route, each.arm)
            for each, was in zip(bound.arms, mine.arms, strict=True)
            if isinstance(each.endpoint, BrokenEndpoint) and keys.get(each.arm.name) == was.key
        )

    def leaving(self, after: RoutingTable) -> tuple[BoundRoute, ...]:
        """The routes that are counted here and no longer in `after`."""
        staying = {id(route.meter) for route in after.routes.values()}
        return tuple(route for route in self.table.routes.values() if id(route.meter) not in staying)


class Binder:
    """Opens endpoints through the runners it was given; tells `report` what became of every arm.

    What an earlier table has open is taken over: a route that did not change as it is, an endpoint wherever its model
    is named again.
    """

    def __init__(
        self,
        leases: Leases,
        *,
        metrics: Metrics,
        report: Callable[[LifeEvent], None],
        override_token: bytes = b"",
        tallies: Tallies | None = None,
    ) -> None:
        """`tallies` count for evidence; what goes into others is read by nobody."""
        self._tallies = tallies or Tallies()
        self._leases = leases
        self._metrics = metrics
        self._report = report
        self._override_token = override_token

    async def bind(self, revision: int, routes: Sequence[CompiledRoute], before: Bound | None = None) -> Bound:
        """A table of all routes. A route whose baseline cannot be opened is quarantined; the others are served."""
        lease = Lease(self._leases)
        known = {route.name for route in routes if before and before.has(route)}
        bound = {
            name: replace(kept, revision=revision)
            for name, kept in (before.table.routes.items() if before else ())
            if name in known
        }
        for endpoint in _endpoints_of(bound.values()):
            lease.share(endpoint)
        refused: dict[str, str] = {}
        quarantined: dict[str, str] = {}
        try:
            for route in routes:
                if route.name not in bound:
                    opening = _Opening(lease, self._report, route, revision)
                    arms = await opening.arms()
                    amiss = before.amiss_in(route) if before else frozenset()
                    if route.name not in known:  # what was amiss before stays amiss, and holds up no other change
                        refused |= {place: why for place, why in opening.refused.items() if place not in amiss}
                    if isinstance(arms, str):
                        quarantined[route.name] = arms
                    else:
                        bound[route.name] = self._bind_route(route, revision, arms)
        except BaseException:
            for name in bound.keys() - known:
                bound[name].meter.forget()
            await lease.end()
            raise
        in_order = {route.name: bound[route.name] for route in routes if route.name in bound}
        table = RoutingTable(revision, in_order, quarantined)
        made = Bound(table, {route.name: route for route in routes}, lease, refused)
        if before is None:
            made.show()
        return made

    def _bind_route(self, route: CompiledRoute, revision: int, arms: tuple[BoundArm, ...]) -> BoundRoute:
        meter = self._metrics.route(route.name, route.strategy, [(bound.arm.name, bound.version) for bound in arms])
        gatherer = route.gatherer(self._override_token)
        gatherer.pins = _pins(arms) if route.is_pinnable else {}
        trial = route.trial(revision)
        return BoundRoute(
            name=route.name,
            revision=revision,
            experiment=trial.experiment,
            strategy=route.strategy,
            arms=arms,
            decider=_unmerged(route.decider) if _unmergeable(route, arms) else route.decider,
            gather=gatherer.gather,
            attribute_names=route.attribute_names,
            unit_kind=route.unit_kind,
            timeout_s=route.timeout_s,
            is_critical=route.is_critical,
            meter=meter,
            shadow_terms=route.shadow_terms,
            coin_salt=route.coin_salt,
            asks_others=any(compiled.model.server for compiled in route.arms),
            tally=self._tallies.route(trial),
        )


class _Opening:
    """One route's arms, opened one after the other. What cannot be is told, and stands in `refused` by its place."""

    def __init__(self, lease: Lease, report: Callable[[LifeEvent], None], route: CompiledRoute, revision: int) -> None:
        self.refused: dict[str, str] = {}
        self._lease = lease
        self._report = report
        self._route = route
        self._revision = revision

    async def arms(self) -> tuple[BoundArm, ...] | str:
        """All arms in their order, a broken one in the place of each that failed or that is unlike the baseline.

        Without the baseline nothing of the route stays open, and the answer is why.
        """
        opened = [await self._open(compiled) for compiled in self._route.arms]
        baseline = next(bound for bound in opened if bound.arm.role is Role.BASELINE)
        if isinstance(baseline.endpoint, BrokenEndpoint):
            for bound in opened:
                await self._close(bound)
            return baseline.endpoint.description.degraded
        if amiss := _unmergeable(self._route, (baseline,)):
            LOG.warning("route %s merges nothing: %s", self._route.name, amiss)
            self.refused[f"route '{self._route.name}', strategy"] = amiss
        if amiss := _words(output_problems(self._route.actions, baseline.endpoint.description.signature)):
            LOG.warning("route %s has actions that are never counted: %s", self._route.name, amiss)
            self.refused[f"route '{self._route.name}', actions"] = amiss
        return tuple([await self._unless_unlike(bound, baseline) for bound in opened])

    async def _open(self, compiled: CompiledArm) -> BoundArm:
        arm, endpoint, background = compiled.arm, None, None
        try:
            endpoint, is_fresh = await self._lease.open(compiled.runner, compiled.model, compiled.digest)
            if compiled.is_shadowed:
                asked = replace(compiled.model, background=True)
                background, _ = await self._lease.open(compiled.runner, asked, compiled.digest)
        except LoadRefused as refused:
            if endpoint:
                await self._lease.drop(endpoint)
            return self._refuse(arm, str(refused))
        known = endpoint.description
        if not is_fresh:  # it has been told of
            return BoundArm(arm, endpoint, background)
        kind, message = ("arm_degraded", known.degraded) if known.degraded else ("arm_loaded", "")
        self._tell(kind, arm, message, known)
        return BoundArm(arm, endpoint, background)

    async def _close(self, bound: BoundArm) -> None:
        for endpoint in (bound.endpoint, bound.background):
            if endpoint is not None and not isinstance(endpoint, BrokenEndpoint):
                await self._lease.drop(endpoint)

    async def _unless_unlike(self, bound: BoundArm, baseline: BoundArm) -> BoundArm:
        """The arm, or a broken one in its place when it could not answer what the baseline answers."""
        if isinstance(bound.endpoint, BrokenEndpoint):
            return bound
        difference = difference_of(bound.endpoint.description.signature, baseline.endpoint.description.signature)
        if not difference:
            return bound
        await self._close(bound)
        return self._refuse(bound.arm, difference)

    def _refuse(self, arm: Arm, reason: str) -> BoundArm:
        self.refused[_place(self._route, arm)] = reason
        self._tell("arm_refused", arm, reason)
        return BoundArm(arm, BrokenEndpoint(reason, arm.version))

    def _tell(self, kind: str, arm: Arm, message: str, known: Description | None = None) -> None:
        level = logging.INFO if kind == "arm_loaded" else logging.WARNING
        name = self._route.name
        LOG.log(level, "%s: route %s, arm %s%s", kind, name, arm.name, f": {message}" if message else "")
        digest, provider = (known.digest, known.provider) if known else ("", "")
        self._report(LifeEvent(time(), kind, name, arm.name, message, self._revision, digest, provider))


def _unmergeable(route: CompiledRoute, arms: tuple[BoundArm, ...]) -> str:
    """Why nothing can be merged as the strategy says, "" where it can or where nothing is to be."""
    baseline = next(bound for bound in arms if bound.arm.role is Role.BASELINE)
    signature = baseline.endpoint.description.signature
    return _words(problem for plan in route.plans for problem in merge_problems(plan, signature))


def _words(found: Iterable[Problem]) -> str:
    return "; ".join([f"{'.'.join(map(str, each.path))}: {each.what}, {each.cure}" for each in found])


def _unmerged(decider: Decider) -> Decider:
    """The same with the baseline alone in the place of those whose answers cannot be merged."""
    allocation = decider.allocation
    plans = tuple(
        [replace(plan, serve=plan.serve[:1], merge=None) if plan.merge else plan for plan in allocation.plans]
    )
    return replace(decider, allocation=replace(allocation, plans=plans))


def _place(route: CompiledRoute, arm: Arm) -> str:
    return f"route '{route.name}', arm '{arm.name}'"


def _endpoints_of(routes: Iterable[BoundRoute]) -> list[Endpoint]:
    """Every endpoint once, but for those that stand in for one that could not be opened."""
    arms = [arm for route in routes for arm in route.arms]
    found = [each for arm in arms for each in (arm.endpoint, arm.background) if each is not None]
    return list({id(each): each for each in found if not isinstance(each, BrokenEndpoint)}.values())


def _pins(arms: tuple[BoundArm, ...]) -> Mapping[str, str]:
    """Version to arm; of several arms with one version the first written is meant."""
    return {bound.version: bound.arm.name for bound in reversed(arms)}
