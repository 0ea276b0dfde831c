"""Many slices looked at together: which of them stand out, with few of those named named wrongly.

Source: Wang, Ramdas (2022), False discovery rate control with e-values.
"""

from collections.abc import Mapping
from math import log
from typing import TypeVar

from msgspec.structs import replace

from strategies.evidence.epochs import ArmCounts, Epoch

OTHER = "other"  # the value that stands for all that are not declared
REQUESTS = "requests"
MARK = "|"  # between what is counted and the slice it is counted in
Key = TypeVar("Key", str, tuple[str, str, str])


def named(attribute: str, value: str) -> str:
    """The name of a slice."""
    return f"{attribute}={value}"


def sliced(counted: str, name: str) -> str:
    """What a metric, or the requests, are counted as in a slice."""
    return f"{counted}{MARK}{name}"


def of_slice(epoch: Epoch, name: str) -> Epoch:
    """What an epoch says of one slice, as if there were no other requests.

    A metric with more units than are remembered is left out from then on: its events are no longer each of another.
    """
    arms = {arm: _part(counts, name, epoch.crowded) for arm, counts in epoch.arms.items()}
    return replace(epoch, arms=arms)


def whole(counts: ArmCounts) -> ArmCounts:
    """What is counted of all requests, without the slices."""
    return replace(counts, events={metric: n for metric, n in counts.events.items() if MARK not in metric})


def _part(counts: ArmCounts, name: str, crowded: tuple[str, ...]) -> ArmCounts:
    parts = [(*key.partition(MARK)[::2], n) for key, n in counts.events.items() if key not in crowded]
    events = {counted: n for counted, where, n in parts if where == name}
    return ArmCounts(requests_n=events.pop(REQUESTS, 0), events=events)


def discoveries(log_es: Mapping[Key, float], alpha: float = 0.05) -> tuple[Key, ...]:
    """The slices that stand out, most evidence first: of those named at most `alpha` are named wrongly, on average.

    It holds however the slices depend on one another (e-BH): the k largest, for the greatest k at which the k-th E is
    at least (number of slices) / (k alpha).
    """
    ranked = sorted(log_es, key=lambda name: (-log_es[name], name))
    found = 0
    for k, name in enumerate(ranked, start=1):
        if log_es[name] >= log(len(ranked) / (k * alpha)):
            found = k
    return tuple(ranked[:found])
