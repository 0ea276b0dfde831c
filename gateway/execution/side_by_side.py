"""Answers side by side: every arm's outputs in one response, under names of their own.

The baseline's outputs stay as they are. Beside each stands NAME__ARM for every partner; or, where slots are blind,
NAME__1, NAME__2, … for all arms, the baseline among them, in an order that coins deal out for each request.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from gateway.execution.outcome import Impression, Routed
from runners.core.tensor import InferenceResponse, Tensor
from strategies.core.arm import Arm
from strategies.core.merge import Merge, Slots
from strategies.interleaving.coins import Coins, HashedCoins
from strategies.interleaving.merged import whole

BETWEEN = "__"


def slots_of(merge: Merge, serve: Sequence[Arm]) -> tuple[str, ...]:
    """What is written after an output's name, in the order of the answer."""
    if merge.slots is Slots.BLIND:
        return tuple([str(place) for place in range(1, len(serve) + 1)])
    return tuple([arm.name for arm in serve[1:]])


def names_asked(merge: Merge, serve: Sequence[Arm], wanted: Sequence[str]) -> tuple[str, ...] | None:
    """The outputs to ask every arm for so that these can be given; None when the baseline has them all."""
    endings = [BETWEEN + slot for slot in slots_of(merge, serve)]
    bare = {name: next((name.removesuffix(end) for end in endings if name.endswith(end)), name) for name in wanted}
    return None if all(name == other for name, other in bare.items()) else tuple(dict.fromkeys(bare.values()))


def put_together(
    routed: Routed, merge: Merge, answers: Sequence[InferenceResponse]
) -> tuple[tuple[Tensor, ...], tuple[Impression, ...]]:
    """All outputs that were asked for, and which slot is whose. It is one choice, however many rows there are."""
    serve = routed.decision.plan.serve
    slots = slots_of(merge, serve)
    order = list(range(len(serve)))
    if merge.slots is Slots.BLIND:
        order = _dealt(len(serve), HashedCoins(routed.route.coin_salt, routed.facts.event_id, 0))
    own = answers[0].outputs
    names = [tensor.name for tensor in own]
    outputs = list(own)
    for slot, ranker in zip(slots, order if merge.slots is Slots.BLIND else order[1:], strict=True):
        given = {tensor.name: tensor for tensor in answers[ranker].outputs}
        outputs += [replace(given[name], name=f"{name}{BETWEEN}{slot}") for name in names if name in given]
    wanted = routed.request.outputs
    if wanted:
        by_name = {tensor.name: tensor for tensor in outputs}
        outputs = [by_name[name] for name in wanted if name in by_name]
        if not all(any(name.endswith(BETWEEN + slot) for name in wanted) for slot in slots):
            return tuple(outputs), ()  # who sees only some of the answers has no choice to make
    shown = slots if merge.slots is Slots.BLIND else tuple([arm.name for arm in serve])
    shares = tuple([whole(ranker, len(serve)) for ranker in order])
    return tuple(outputs), (Impression(0, shown, tuple([arm.name for arm in serve]), shares),)


def _dealt(count: int, coins: Coins) -> list[int]:
    """All orders alike: the first place is dealt first, from all that are left."""
    left = list(range(count))
    return [left.pop(coins.pick(len(left))) for _ in range(count)]
