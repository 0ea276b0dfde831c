"""Actions: answers that say what an operator wants to know the rate of, such as "block"."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from numpy.typing import NDArray

from runners.core.tensor import Tensor

LOOKED_AT_N = 65_536  # rows of an answer; a million texts would hold up the event loop for 30 ms


class Action(Struct, frozen=True):
    """One row is enough: an output's value there `equals` this, or is `above` or `below` it; one of the three is set.

    `metric` is what such answers are counted as. Texts are bytes here, as in tensors.
    """

    metric: str
    output: str
    equals: bytes | float | None = None
    above: float | None = None
    below: float | None = None

    def is_in(self, outputs: Iterable[Tensor]) -> bool:
        """Whether an answer is one. Without the output, for nobody asked for it, it is none."""
        return any(tensor.name == self.output and self._is_met(tensor.array) for tensor in outputs)

    def _is_met(self, array: NDArray[Any]) -> bool:
        rows = array.reshape(-1)[:LOOKED_AT_N]
        if self.above is not None:
            return bool((rows > self.above).any())
        if self.below is not None:
            return bool((rows < self.below).any())
        return bool((rows == self.equals).any())
