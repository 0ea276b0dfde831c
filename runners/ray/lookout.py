"""Whether the cluster still answers its driver: Ray's own calls wait for a head that has gone, some for ever."""

import os
import socket
import threading
from collections.abc import Callable
from time import monotonic, sleep

LOOK_S = 1.0
SLOW_S = 5.0  # after which it is asked whether the head is still there
REACH_S = 2.0


class Lookout:
    """Holds what its process is at against a limit. `stuck_at` is pure but for the look at the head."""

    def __init__(self, address: str) -> None:
        """`address` is the head's, HOST:PORT."""
        self._address = address
        self._began_at = self._until = monotonic()

    def allow(self, limit_s: float) -> None:
        """Something begins that may take so long."""
        self._began_at = monotonic()
        self._until = self._began_at + limit_s

    def stuck_at(self, now: float) -> str:
        """Why to go on waiting is in vain, "" while it may not be."""
        if now > self._until:
            return f"it has not answered for {now - self._began_at:.0f} s"
        return self.unreached() if now - self._began_at > SLOW_S else ""

    def unreached(self) -> str:
        """Why nobody can be connected to, "" if somebody listens there."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
        except (OSError, OverflowError) as error:
            return f"nobody can be reached there: {getattr(error, 'strerror', None) or error}"
        return ""

    def watch(self, tell: Callable[[str], None]) -> None:
        """From now on end this process once it is stuck, after it was told why. No other thread need turn for it."""
        threading.Thread(target=self._watch, args=(tell,), name="turnout-lookout", daemon=True).start()

    def _watch(self, tell: Callable[[str], None]) -> None:
        while not (why := self.stuck_at(monotonic())):
            sleep(LOOK_S)
        try:
            tell(why)
        finally:
            os._exit(1)
