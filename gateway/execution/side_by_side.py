"""Answers side by side: every arm's outputs in one response, under names of their own.

The baseline's outputs stay as they are. Beside each stands NAME__ARM for every partner; or, where slots are blind,
NAME__1, NAME__2, … for all arms, the baseline among them, in an order that coins deal out for each request.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from gateway.execution.outcome import Impression, Routed
from gateway.execution.ranking import NotMerged
from runners.core.errors import InvalidOutput
from runners.core.tensor import InferenceResponse, Signature, Tensor, TensorSpec
from strategies.core.arm import Arm
from strategies.core.merge import Merge, Mode, Slots
from strategies.core.plan import Plan
from strategies.interleaving.coins import HashedCoins
from strategies.interleaving.merged import whole
from strategies.interleaving.slots import BETWEEN, dealt, named, slots_of


def specs_beside(plan: Plan, signatures: Mapping[int, Signature]) -> list[TensorSpec]:
    """The outputs that stand beside the baseline's, as metadata tells them. `signatures` are by index of the arm."""
    if plan.merge is None or plan.merge.mode is not Mode.BOTH:
        return []
    is_blind = plan.merge.slots is Slots.BLIND
    found = []
    for slot, arm in zip(slots_of(plan.merge, plan.serve), plan.serve if is_blind else plan.serve[1:], strict=True):
        for own in signatures[plan.serve[0].index].outputs:
            each = plan.serve if is_blind else (arm,)  # a blind slot may hold what any of them says
            specs = [spec for arm in each for spec in signatures[arm.index].outputs if spec.name == own.name]
            shapes = zip(*(spec.shape for spec in specs), strict=True)
            shape = tuple([sizes[0] if len(set(sizes)) == 1 else -1 for sizes in shapes])
            found.append(TensorSpec(named(own.name, slot), own.datatype, shape if specs else own.shape))
    return found


def names_asked(merge: Merge, serve: Sequence[Arm], wanted: Sequence[str]) -> tuple[str, ...] | None:
    """The outputs to ask every arm for so that these can be given; None when the baseline has them all."""
    endings = [BETWEEN + slot for slot in slots_of(merge, serve)]
    bare = {name: next((name.removesuffix(end) for end in endings if name.endswith(end)), name) for name in wanted}
    return None if all(name == other for name, other in bare.items()) else tuple(dict.fromkeys(bare.values()))


def put_together(
    routed: Routed, merge: Merge, answers: Sequence[InferenceResponse]
) -> tuple[tuple[Tensor, ...], tuple[Impression, ...]]:
    """All outputs that were asked for, and which slot is whose. It is one choice, however many rows there are.

    Raises NotMerged.
    """
    serve = routed.decision.plan.serve
    slots = slots_of(merge, serve)
    order = list(range(len(serve)))
    if merge.slots is Slots.BLIND:
        order = dealt(len(serve), HashedCoins(routed.route.coin_salt, routed.facts.event_id, 0))
    own = answers[0].outputs
    names = [tensor.name for tensor in own]
    outputs = list(own)
    for slot, ranker in zip(slots, order if merge.slots is Slots.BLIND else order[1:], strict=True):
        given = {tensor.name: tensor for tensor in answers[ranker].outputs}
        if any(name not in given for name in names):
            raise NotMerged(InvalidOutput.code, ranker)
        outputs += [replace(given[name], name=named(name, slot)) for name in names]
    wanted = routed.request.outputs
    if wanted:
        by_name = {tensor.name: tensor for tensor in outputs}
        outputs = [by_name[name] for name in wanted if name in by_name]
        if not _sees_all(wanted, names, slots, merge):
            return tuple(outputs), ()  # who sees only some of the answers has no choice to make
    shown = slots if merge.slots is Slots.BLIND else tuple([arm.name for arm in serve])
    shares = tuple([whole(ranker, len(serve)) for ranker in order])
    return tuple(outputs), (Impression(0, shown, tuple([arm.name for arm in serve]), shares),)


def _sees_all(wanted: Sequence[str], own: Sequence[str], slots: Sequence[str], merge: Merge) -> bool:
    """Whether something of every arm is among what a client asked for."""
    is_own_seen = merge.slots is Slots.BLIND or any(name in own for name in wanted)
    return is_own_seen and all(any(name.endswith(BETWEEN + slot) for name in wanted) for slot in slots)
