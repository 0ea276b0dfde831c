"""Runs a coroutine without a task: its first stretch at once, the others as what it waits for is done.

A call that is answered at once costs no task and no turn of the loop; one that waits costs a callback. What is run this
way is in no task, so it must not ask which one it is in, as asyncio.timeout does.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Done = Callable[[Any, BaseException | None], None]


class Drive:
    """One coroutine under way. `done` is called once, with what it returned or raised, perhaps within `begin`."""

    __slots__ = ("_coroutine", "_done", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], done: Done) -> None:
        self._coroutine = coroutine
        self._done = done
        self._waits_for: asyncio.Future[Any] | None = None

    def begin(self) -> None:
        self._step(None)

    def cancel(self) -> None:
        """As a task's: what it waits for is cancelled, and the coroutine hears of it in the next turn."""
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _step(self, _: Any) -> None:
        self._waits_for = None
        try:
            waits_for = self._coroutine.send(None)
        except StopIteration as returned:
            self._done(returned.value, None)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  it is told to whoever waits
            self._done(None, error)
        else:
            if waits_for is None:  # a bare yield, as of asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(self._step, None)
                return
            # What asyncio's own tasks do with a future that is awaited.
            waits_for._asyncio_future_blocking = False  # noqa: SLF001
            self._waits_for = waits_for
            waits_for.add_done_callback(self._step)
