"""Shadow calls that were dropped, told together: a busy gateway drops thousands a second, all for one reason."""

import asyncio
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from observability.event import ShadowEvent

TOLD_EVERY_S = 1.0


class _Held(Struct):
    """What was dropped first, and how many like it there are by now."""

    first: ShadowEvent
    n: int


class Drops:
    """Holds an event of dropped calls for up to TOLD_EVERY_S, then tells it once for all that were like it.

    `count` is what a drop costs the path of a request that is one of many. At most one event is held for an arm of a
    route and a reason. Used on the event loop alone.
    """

    def __init__(self, tell: Callable[[ShadowEvent], None]) -> None:
        self._tell = tell
        self._held: dict[tuple[object, str, str], _Held] = {}

    def count(self, route: object, arm: str, reason: str) -> bool:
        """Count one more; False when nothing like it is held, so that `hold` must be told what it was."""
        held = self._held.get((route, arm, reason))
        if held is None:
            return False
        held.n += 1
        return True

    def hold(self, route: object, event: ShadowEvent) -> None:
        """Hold the first of its kind. `route` is any hashable that no other route under any revision has."""
        if not self._held:
            asyncio.get_running_loop().call_later(TOLD_EVERY_S, self.tell)
        self._held[route, event.arm, event.dropped] = _Held(event, 1)

    def tell(self) -> None:
        """Tell what is held, now."""
        held, self._held = self._held, {}
        for each in held.values():
            self._tell(each.first if each.n == 1 else replace(each.first, count=each.n))
