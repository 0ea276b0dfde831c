"""The board of one serving process: what the agent has seen last, told to every endpoint that asks replicas."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from weakref import WeakSet

from runners.core.runner import Description
from runners.ray.endpoint import EndpointCounts, HopEndpoint
from runners.ray.members import Membership, State
from runners.ray.readings import PeerReading
from runners.ray.settings import Dial

WAKE_S = 1.0
READ_N = 512  # replicas of all arms that are told of at once; beyond, nobody reads a list


class Board:
    """Used on the event loop alone."""

    def __init__(self, dial: Dial, membership: Membership) -> None:
        self._dial = dial
        self._membership = membership
        self._missed_at: dict[str, float] = {}
        self._wake: Callable[[str], None] = lambda _: None
        self._endpoints: defaultdict[str, WeakSet[HopEndpoint]] = defaultdict(WeakSet)  # shadows have one of their own

    def connect(self, wake: Callable[[str], None]) -> None:
        """From now on tell of arms that are asked and have no replica, each once a second at most."""
        self._wake = wake

    def update(self, membership: Membership) -> None:
        """Learn who there is. What is older than what is known changes nothing."""
        if membership.seq > self._membership.seq:
            self._membership = membership
            for endpoint in self._all():
                endpoint.update(membership)

    def has_ready(self, arm_key: str) -> bool:
        """Whether a replica is said to be there."""
        return any(member.state is State.READY for member in self._membership.of(arm_key))

    def endpoint(self, arm_key: str, description: Description | None = None) -> HopEndpoint:
        """One that asks the replicas of an arm, and is told of them as long as it lives. Raises LoadRefused."""
        made = HopEndpoint(arm_key, self._dial, description)
        made.missed = partial(self._miss, arm_key)
        self._endpoints[arm_key].add(made)
        made.update(self._membership)
        return made

    def readings(self, most_n: int = READ_N) -> dict[str, list[PeerReading]]:
        """The replicas of every arm, as they are seen from here; once for each endpoint that asks them."""
        found, left_n = {}, most_n
        for key, asking in self._items():
            readings = [reading for each in asking for reading in each.readings()][:left_n]
            left_n -= len(readings)
            if readings:
                found[key] = readings
        return found

    def counts(self) -> Mapping[str, list[EndpointCounts]]:
        """What the endpoints of every arm have counted."""
        return {key: [each.counts for each in asking] for key, asking in self._items()}

    def _miss(self, arm_key: str) -> None:
        now = monotonic()
        if now - self._missed_at.get(arm_key, -WAKE_S) >= WAKE_S:
            self._missed_at[arm_key] = now
            self._wake(arm_key)

    def _all(self) -> list[HopEndpoint]:
        return [endpoint for _, asking in self._items() for endpoint in asking]

    def _items(self) -> list[tuple[str, list[HopEndpoint]]]:
        return [(key, list(asking)) for key, asking in self._endpoints.items() if asking]
