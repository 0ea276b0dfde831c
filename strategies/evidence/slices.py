"""Many slices looked at together: which of them stand out, with few of those named named wrongly.

Source: Wang, Ramdas (2022), False discovery rate control with e-values.
"""

from collections.abc import Mapping
from math import log


def discoveries(log_es: Mapping[str, float], alpha: float = 0.05) -> tuple[str, ...]:
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
