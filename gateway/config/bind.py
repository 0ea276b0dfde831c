"""Binding: open the models a compiled revision names and put everything a request needs within its reach."""

import logging
from collections.abc import Callable, Iterable, Mapping
from time import time

from msgspec.structs import replace

from gateway.config.compiled import CompiledArm, CompiledRoute
from gateway.routing.broken import BrokenEndpoint
from gateway.routing.table import BoundArm, BoundRoute, RoutingTable
from observability.event import LifeEvent
from observability.metrics import Metrics
from runners.core.batching import Batches
from runners.core.errors import LoadRefused
from runners.core.runner import Description, Runner
from runners.core.tensor import Signature, TensorSpec
from strategies.core.arm import Role

LOG = logging.getLogger("turnout.bind")


class Binder:
    """Opens one revision's endpoints through the runners it was given; tells `report` what became of every arm."""

    def __init__(
        self,
        revision: int,
        *,
        runner: Callable[[str], Runner],
        metrics: Metrics,
        report: Callable[[LifeEvent], None],
        override_token: bytes = b"",
    ) -> None:
        self._revision = revision
        self._runner = runner
        self._metrics = metrics
        self._report = report
        self._override_token = override_token

    async def bind(self, routes: Iterable[CompiledRoute]) -> RoutingTable:
        """A table of all routes. A route whose baseline cannot be opened is quarantined; the others are served."""
        bound: dict[str, BoundRoute] = {}
        quarantined: dict[str, str] = {}
        for route in routes:
            arms = [await self._open_arm(compiled, route) for compiled in route.arms]
            baseline = next(arm for arm in arms if arm.arm.role is Role.BASELINE)
            if isinstance(baseline.endpoint, BrokenEndpoint):
                quarantined[route.name] = baseline.endpoint.description.degraded
                await close_all(arms)
            else:
                bound[route.name] = await self._bind_route(route, arms, baseline)
        return RoutingTable(self._revision, bound, quarantined)

    async def _open_arm(self, compiled: CompiledArm, route: CompiledRoute) -> BoundArm:
        arm = compiled.arm
        endpoint = background = None
        try:
            runner = self._runner(compiled.runner)
            endpoint = await runner.open(compiled.model)
            if compiled.is_shadowed:
                background = await runner.open(replace(compiled.model, background=True))
        except LoadRefused as refused:
            if endpoint:
                await endpoint.close()
            self._tell("arm_refused", route.name, arm.name, str(refused))
            return BoundArm(arm, BrokenEndpoint(str(refused), arm.version))
        known = endpoint.description
        kind, message = ("arm_degraded", known.degraded) if known.degraded else ("arm_loaded", "")
        self._tell(kind, route.name, arm.name, message, known)
        return BoundArm(arm, endpoint, background)

    async def _bind_route(self, route: CompiledRoute, opened: list[BoundArm], baseline: BoundArm) -> BoundRoute:
        wanted = baseline.endpoint.description.signature
        arms = tuple([await self._unless_unlike(bound, wanted, route.name) for bound in opened])
        meter = self._metrics.route(route.name, route.strategy, [(bound.arm.name, bound.version) for bound in arms])
        for bound in arms:
            known = bound.endpoint.description
            meter.set_provider(bound.arm.name, known.provider, degraded=bool(known.degraded))
            if isinstance(bound.endpoint, Batches):
                meter.watch_batches(bound.arm.name, bound.endpoint.batch_counts)
        gatherer = route.gatherer(self._override_token)
        gatherer.pins = _pins(arms) if route.is_pinnable else {}
        return BoundRoute(
            name=route.name,
            revision=self._revision,
            experiment=f"{route.name}@{self._revision}",
            strategy=route.strategy,
            arms=arms,
            decider=route.decider,
            gather=gatherer.gather,
            attribute_names=route.attribute_names,
            unit_kind=route.unit_kind,
            timeout_s=route.timeout_s,
            is_critical=route.is_critical,
            meter=meter,
            asks_others=any(compiled.model.server for compiled in route.arms),
        )

    async def _unless_unlike(self, bound: BoundArm, wanted: Signature, route: str) -> BoundArm:
        """The arm, or a broken one in its place when it could not answer what the baseline answers."""
        difference = "" if isinstance(bound.endpoint, BrokenEndpoint) else _difference(bound, wanted)
        if not difference:
            return bound
        await close_all([bound])
        self._tell("arm_refused", route, bound.arm.name, difference)
        return BoundArm(bound.arm, BrokenEndpoint(difference, bound.version))

    def _tell(self, kind: str, route: str, arm: str, message: str, known: Description | None = None) -> None:
        level = logging.INFO if kind == "arm_loaded" else logging.WARNING
        LOG.log(level, "%s: route %s, arm %s%s", kind, route, arm, f": {message}" if message else "")
        digest, provider = (known.digest, known.provider) if known else ("", "")
        self._report(LifeEvent(time(), kind, route, arm, message, self._revision, digest, provider))


async def close_all(arms: Iterable[BoundArm]) -> None:
    """Close everything these arms hold."""
    for bound in arms:
        await bound.endpoint.close()
        if bound.background:
            await bound.background.close()


def _pins(arms: tuple[BoundArm, ...]) -> Mapping[str, str]:
    """Version to arm; of several arms with one version the first written is meant."""
    return {bound.version: bound.arm.name for bound in reversed(arms)}


def _difference(bound: BoundArm, wanted: Signature) -> str:
    """Why an arm cannot stand in for the baseline, "" if it can. Any size is as good as a certain one."""
    found = bound.endpoint.description.signature
    if not found.inputs:  # a constant that looks at no input takes them all
        return _unlike("output", found.outputs, wanted.outputs)
    return _unlike("input", found.inputs, wanted.inputs) or _unlike("output", found.outputs, wanted.outputs)


def _unlike(what: str, found: tuple[TensorSpec, ...], wanted: tuple[TensorSpec, ...]) -> str:
    by_name = {spec.name: spec for spec in found}
    for spec in wanted:
        other = by_name.get(spec.name)
        if other is None:
            return f"its {what}s are {', '.join(by_name)}; the baseline's {what} '{spec.name}' is missing"
        if other.datatype != spec.datatype or not _fits(other.shape, spec.shape):
            return (
                f"its {what} '{spec.name}' is {other.datatype} {list(other.shape)}, "
                f"the baseline's {spec.datatype} {list(spec.shape)}"
            )
    extra = by_name.keys() - {spec.name for spec in wanted}
    if extra and what == "input":
        return f"it wants inputs the baseline does not have: {', '.join(sorted(extra))}"
    return ""


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if len(found) != len(wanted):
        return False
    return all(-1 in sizes or sizes[0] == sizes[1] for sizes in zip(found, wanted, strict=True))
