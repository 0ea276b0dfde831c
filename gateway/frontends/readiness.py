"""Whether this process wants traffic: one word, said by whoever starts and stops it, heard by every probe."""

from collections.abc import Callable


class Readiness:
    """Not ready until told so. Those who watch are told of every change."""

    def __init__(self) -> None:
        self._is_ready = False
        self._watchers: list[Callable[[bool], None]] = []

    def is_ready(self) -> bool:
        return self._is_ready

    def set(self, is_ready: bool) -> None:
        if is_ready != self._is_ready:
            self._is_ready = is_ready
            for tell in self._watchers:
                tell(is_ready)

    def watch(self, tell: Callable[[bool], None]) -> None:
        """Have `tell` called now and at every change, on the event loop."""
        self._watchers.append(tell)
        tell(self._is_ready)
