"""How many replicas have ended without having said that they would, by application."""

from collections import Counter
from collections.abc import Collection, Container

from runners.ray.members import Member, State

SILENT_S = 10.0  # a clerk that was made anew hears of all within a second or two
ASKED = (State.DRAINING, State.GONE)


class Absentees:
    """Told what is seen again and again. Only what is told counts: while nobody can look, nobody dies."""

    def __init__(self) -> None:
        self.died_n: Counter[str] = Counter()
        self._alive: dict[str, str] = {}  # replica -> application
        self._missed_at: dict[str, float] = {}

    def note(self, members: Collection[Member], now: float, wanted: Container[str]) -> None:
        """These are there at the moment. What is not wanted any more is forgotten."""
        for member in members:
            self._missed_at.pop(member.replica, None)
            if member.is_detour:
                continue
            if member.state in ASKED:
                self._alive.pop(member.replica, None)
            else:
                self._alive[member.replica] = member.arm_key
        there = {member.replica for member in members}
        for replica, application in list(self._alive.items()):
            if application not in wanted:
                self._forget(replica)
            elif replica not in there and now - self._missed_at.setdefault(replica, now) >= SILENT_S:
                self._forget(replica)
                self.died_n[application] += 1
        for application in [each for each in self.died_n if each not in wanted]:
            del self.died_n[application]

    def _forget(self, replica: str) -> None:
        self._alive.pop(replica, None)
        self._missed_at.pop(replica, None)
