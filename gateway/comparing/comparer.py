"""Where answers are compared: small ones on the event loop, as a thread would cost more; large ones beside it."""

import time

from gateway.comparing.likeness import Likeness, likeness
from gateway.comparing.tolerance import Tolerance
from runners.core.errors import RunnerError
from runners.core.tensor import InferenceResponse, bytes_of
from runners.core.thread import ModelThread

SMALL_BYTES = 16_384
SMALL_N = 64  # elements compared, ordered and all, within 0.1 ms: little more than a thread, there and back, would take
NICENESS = 10
_BREATH_S = 0.00005


class Comparer:
    """Compares one pair of answers at a time in a niced thread, which is started for the first large pair."""

    def __init__(self) -> None:
        self._thread: ModelThread | None = None

    async def compare(
        self,
        served: InferenceResponse,
        shadow: InferenceResponse,
        *,
        deadline_at: float,
        tolerance: Tolerance | None = None,
    ) -> Likeness | None:
        """As `likeness`; None when that could not be told by `deadline_at`, on the monotonic clock."""
        if _is_small(served) and _is_small(shadow):
            return likeness(served, shadow, tolerance=tolerance)
        if self._thread is None:
            self._thread = ModelThread("comparing", niceness=NICENESS)
        patience = _Patience()
        try:
            return await self._thread.run(
                lambda: likeness(served, shadow, tolerance=tolerance, pause=patience.pause),
                patience.end,
                deadline_at=deadline_at,
            )
        except RunnerError:  # too late, or too many wait
            return None

    async def close(self) -> None:
        if self._thread is not None:
            await self._thread.close()


def _is_small(answer: InferenceResponse) -> bool:
    return bytes_of(answer.outputs) <= SMALL_BYTES // 2 and sum(t.array.size for t in answer.outputs) <= SMALL_N


class _Patience:
    """Lets the event loop have the interpreter between two slices, and ends a comparison that nobody waits for."""

    def __init__(self) -> None:
        self._is_over = False

    def pause(self) -> None:
        if self._is_over:
            raise TimeoutError
        time.sleep(_BREATH_S)

    def end(self) -> None:
        self._is_over = True
