"""Where answers are compared: small ones on the event loop, as a thread would cost more; large ones beside it."""

import time

from gateway.comparing.tensors import agreement
from runners.core.errors import RunnerError
from runners.core.tensor import InferenceResponse, bytes_of
from runners.core.thread import ModelThread

SMALL_BYTES = 16_384  # compared within some 30 us, which is what handing it to a thread and back would take
NICENESS = 10
NOT_COMPARED = -1.0
_BREATH_S = 0.00005


class Comparer:
    """Compares one pair of answers at a time in a niced thread, which is started for the first large pair."""

    def __init__(self) -> None:
        self._thread: ModelThread | None = None

    async def agreement(self, served: InferenceResponse, shadow: InferenceResponse, *, deadline_at: float) -> float:
        """As `tensors.agreement`; NOT_COMPARED when that could not be told by `deadline_at`, on the monotonic clock."""
        if bytes_of(served.outputs) + bytes_of(shadow.outputs) <= SMALL_BYTES:
            return agreement(served, shadow)
        if self._thread is None:
            self._thread = ModelThread("comparing", niceness=NICENESS)
        patience = _Patience()
        try:
            return await self._thread.run(
                lambda: agreement(served, shadow, pause=patience.pause), patience.end, deadline_at=deadline_at
            )
        except RunnerError:  # too late, or too many wait
            return NOT_COMPARED

    async def close(self) -> None:
        if self._thread is not None:
            await self._thread.close()


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
