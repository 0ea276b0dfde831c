"""Slots: what answers side by side are called, so that people can take one without knowing whose it is."""

from collections.abc import Sequence

from strategies.core.arm import Arm
from strategies.core.merge import Merge, Slots
from strategies.interleaving.coins import Coins

BETWEEN = "__"


def slots_of(merge: Merge, serve: Sequence[Arm]) -> tuple[str, ...]:
    """What is written after an output's name, in the order of the answer: places for all arms, or partners' names."""
    if merge.slots is Slots.BLIND:
        return tuple([str(place) for place in range(1, len(serve) + 1)])
    return tuple([arm.name for arm in serve[1:]])


def named(output: str, slot: str) -> str:
    """What an output is called in a slot."""
    return f"{output}{BETWEEN}{slot}"


def dealt(count: int, coins: Coins) -> list[int]:
    """Who gets which slot, all orders alike: the first slot is dealt first, among all that are left."""
    left = list(range(count))
    return [left.pop(coins.pick(len(left))) for _ in range(count)]
