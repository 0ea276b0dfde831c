"""From documents to values that decide: pure, and only for documents without problems."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from gateway.comparing.tolerance import Tolerance
from gateway.config.acting import actions_of
from gateway.config.check import arms_of, fallback_of, is_resident, runner_of, twin_of
from gateway.config.compiled import CompiledArm, CompiledRoute
from gateway.config.documents import ArmDoc, LayersDoc, RouteDoc, ShadowDoc, SourceDoc
from gateway.config.hosting import hosting_of, threads_of
from gateway.config.layers import gates_of
from gateway.config.remote import server_of
from gateway.config.slicing import slicings_of
from gateway.facts import Source
from gateway.routing.table import ShadowTerms
from runners.core.runner import Batching, ModelRef, OutputPolicy, ProviderChoice
from strategies.core.arm import TWIN_SUFFIX, Arm, Arms, with_copy, with_twin
from strategies.core.assignment import Allocation, effective_salt, reallocate
from strategies.core.decider import Decider, ShadowTable, shadow_draw
from strategies.core.hashes import text_to_hash
from strategies.core.plan import WHOLE_PPM, Plan, Reason, answering, uncounted
from strategies.core.spec import duration_s, share_ppm
from strategies.core.state import RouteState

RESIDENT_SUFFIX = "@resident"
RESIDENT_EXERCISE_PPM = 1_000  # a fallback that is never run does not work when it is needed


def compile_route(
    document: RouteDoc,
    *,
    root: Path,
    layers: LayersDoc,
    state: RouteState = None,
    before: Allocation | None = None,
    today: date = date.min,
) -> CompiledRoute:
    """Give a checked document its meaning. `root` is where its relative paths begin, `before` the map it replaces.

    `layers` are those of the whole configuration: without them a route knows nothing of holdout and neighbours.

    From the day on which it expires (`today`, in UTC) the baseline has the whole route and nothing is shadowed.
    """
    expired = document.is_expired(today)
    resident = _resident(document)
    arms, plans = _planned(document, _with_resident(arms_of(document), resident), state, expired=expired)
    shadows = _shadow_shares(document, resident, expired=expired)
    return CompiledRoute(
        name=document.route,
        salt=_salt(document),
        hash=document.hash,
        strategy=document.strategy.kind,
        arms=tuple(_compiled_arm(arm, document, root, shadows) for arm in arms),
        plans=plans,
        fallback=tuple(arm.name for arm in arms.fallback),
        shadows=shadows,
        decider=_decider(document, arms, layers, shadows, reallocate(before, plans)),
        attribute_names=tuple(document.attributes),
        unit_kind=document.unit.header or document.unit.parameter or "",
        unit=_source(document.unit),
        attributes=tuple(_source(doc) for doc in document.attributes.values()),
        timeout_s=duration_s(document.timeout),
        is_pinnable=document.pin,
        is_critical=document.critical,
        shadow_terms={shadow.candidate: _terms(shadow) for shadow in document.shadow},
        coin_salt=effective_salt(document.salt or document.route, document.epoch),
        state=state,
        actions=actions_of(document),
        slicings=slicings_of(document),
        notice=f"expired on {document.expires}: the baseline answers everything" if expired else "",
    )


def _planned(document: RouteDoc, arms: Arms, state: RouteState, *, expired: bool) -> tuple[Arms, tuple[Plan, ...]]:
    """What a unit can draw, and the arms: with a twin, as the last, while there is something to compare with it."""
    if expired:
        return arms, (answering(arms.baseline, WHOLE_PPM, arms),)
    if not twin_of(document):
        return arms, document.strategy.plans(arms, state)
    twinned = with_twin(arms)
    plans = document.strategy.plans(twinned, state)
    return (twinned if any(plan.assigned == twinned.twin for plan in plans) else arms), plans


def _decider(
    document: RouteDoc, arms: Arms, layers: LayersDoc, shadows: Mapping[str, int], allocation: Allocation
) -> Decider:
    return Decider(
        allocation=allocation,
        overrides={arm.name: uncounted(arm, Reason.OVERRIDE, arms) for arm in arms},
        pins={arm.name: uncounted(arm, Reason.PINNED, arms) for arm in arms},
        gates=gates_of(document, layers, arms),
        shadows=_shadow_table(document, arms, shadows),
    )


def _shadow_shares(document: RouteDoc, resident: str, *, expired: bool) -> dict[str, int]:
    shadows = {} if expired else {shadow.candidate: share_ppm(shadow.share) for shadow in document.shadow}
    return shadows | ({resident + RESIDENT_SUFFIX: RESIDENT_EXERCISE_PPM} if resident else {})


def _terms(shadow: ShadowDoc) -> ShadowTerms:
    written = shadow.tolerance
    return ShadowTerms(Tolerance(written.relative, written.absolute) if written else None, shadow.capture)


def inherited_map(document: RouteDoc, before: CompiledRoute | None) -> Allocation | None:
    """The map to derive the document's from; None when there is none, or its points would be other units' points."""
    if before is None or before.identity != (document.hash, _salt(document), _source(document.unit)):
        return None
    return before.decider.allocation


def _salt(document: RouteDoc) -> str:
    return text_to_hash(document.hash, document.salt or document.route, document.epoch)


def _resident(document: RouteDoc) -> str:
    """The arm that needs a copy in this process so that the fallback chain ends in one; "" when it does already."""
    last = fallback_of(document)[-1]
    return "" if is_resident(document.arms[last], document.defaults) else last


def _with_resident(arms: Arms, copy_of: str) -> Arms:
    return with_copy(arms, arms[copy_of], RESIDENT_SUFFIX, is_fallback=True) if copy_of else arms


def _compiled_arm(arm: Arm, document: RouteDoc, root: Path, shadows: Mapping[str, int]) -> CompiledArm:
    written = document.arms[arm.name.removesuffix(RESIDENT_SUFFIX).removesuffix(TWIN_SUFFIX)]
    is_here = arm.name.endswith(RESIDENT_SUFFIX)
    runner = "embedded" if is_here else runner_of(written, document.defaults)
    model = ModelRef(
        reference=written.model,
        root=root,
        version=written.version or "",
        provider=ProviderChoice() if is_here else _provider(written),
        outputs=OutputPolicy(
            nan=written.outputs.nan,
            ranges=tuple((name, low, high) for name, (low, high) in written.outputs.ranges.items()),
        ),
        golden=Path(written.golden) if written.golden else None,
        threads=1 if is_here else threads_of(written, runner),
        batching=Batching(
            written.batching.max_rows, written.batching.max_wait_ms / 1000, float(written.batching.tolerance)
        ),
        server=server_of(written, root),
        hosting=hosting_of(written, runner),
        is_twin=arm.name.endswith(TWIN_SUFFIX),
    )
    return CompiledArm(arm, runner, model, is_shadowed=shadows.get(arm.name, 0) > 0 and not is_here)


def _provider(arm: ArmDoc) -> ProviderChoice:
    options = {name: str(value) for name, value in arm.provider.options.items()}
    return ProviderChoice(arm.provider.name, arm.provider.policy, options)


def _shadow_table(document: RouteDoc, arms: Arms, shadows: Mapping[str, int]) -> ShadowTable | None:
    """Requests are drawn by our own rule, whatever hash the units are dealt by."""
    salt = effective_salt(document.salt or document.route, document.epoch)
    draws = tuple(shadow_draw(salt, arms[name], ppm) for name, ppm in shadows.items() if ppm)
    return ShadowTable(draws) if draws else None


def _source(document: SourceDoc) -> Source:
    return Source((document.header or "").lower().encode(), document.parameter or "")
