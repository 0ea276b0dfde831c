"""Idle moments: when nothing that answers a client waits for this process.

Two things wait: a request that was routed and is not answered yet, which is counted, and one whose bytes lie in a
socket or whose task has not had its turn, which only the event loop knows. So an idle moment is one in which nothing
counted is under way, and the loop has been round TURNS_N times, reading its sockets each time, without anything having
begun.
"""

import asyncio
from collections.abc import Callable

# In one turn the loop reads what came, in the next it runs the task that was made of it.
TURNS_N = 2


class Idle:
    """Calls `wake` in an idle moment, if one is wanted. On the path of a request it costs three integers.

    `begun_n` is how many requests have begun so far.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.begun_n = 0
        self._wake = wake
        self._under_way_n = 0
        self._is_wanted = False
        self._is_looking = False

    def begin(self) -> None:
        """Something that answers a client begins; `end` is called for it exactly once."""
        self._under_way_n += 1
        self.begun_n += 1

    def end(self) -> None:
        self._under_way_n -= 1
        if self._is_wanted and not self._under_way_n:
            self._look()

    def want(self) -> None:
        """Have `wake` called in the next idle moment, once, however often it is wanted until then."""
        self._is_wanted = True
        if not self._under_way_n:
            self._look()

    def _look(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._turn(self.begun_n, TURNS_N)

    def _turn(self, begun_n: int, turns_left: int) -> None:
        if self._under_way_n:  # whatever ends last looks again
            self._is_looking = False
        elif begun_n != self.begun_n:
            asyncio.get_running_loop().call_soon(self._turn, self.begun_n, TURNS_N - 1)
        elif turns_left:
            asyncio.get_running_loop().call_soon(self._turn, begun_n, turns_left - 1)
        else:
            self._is_looking = self._is_wanted = False
            self._wake()
