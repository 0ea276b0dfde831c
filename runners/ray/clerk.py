"""The clerk: one actor of the cluster that knows which replicas there are and has the models' files at hand.

Replicas say every second where they listen; agents read what was said, and bring the files that replicas fetch. It is
detached, so it outlives agents. When it is gone agents make it anew, and everybody says everything again.
"""

from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

from runners.ray.members import Member
from runners.ray.parcel import File

NAME = "turnout-clerk"
NAMESPACE = "turnout"
FRESH_S = 4.0  # a replica that has said nothing for longer is not told of any more
LOOK_S = 0.2
YOUNG_S = 300.0  # a replica that ends so soon after its start, and says nothing of it, died young
YOUNG_N = 3  # of an arm, for whom the next one does not wait
WAIT_FIRST_S, WAIT_MOST_S = 10.0, 60.0
REMEMBERED_S = 60.0  # a replica that said that it ends is told as gone for so long; a file that nobody wants is kept


class Clerk:
    """Methods are called by other processes, several at a time; each is one step on a dictionary."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Member, float]] = {}
        self._files: dict[str, list[bytes]] = {}
        self._wanted_at: dict[str, float] = {}
        self._begun: dict[str, tuple[str, float]] = {}

    def begin(self, member: Member) -> float:
        """A replica is about to open its model: for how long it shall wait, since too many of its arm died young.

        Ray Serve starts another at once, for ever, and what kills one as it loads takes the machine's time each time.
        """
        now = monotonic()
        self.post(member)
        there = {each.replica for each in self.members()}
        self._begun = {name: (arm, at) for name, (arm, at) in list(self._begun.items()) if now - at < YOUNG_S}
        dead_n = sum(arm == member.arm_key and name not in there for name, (arm, _) in list(self._begun.items()))
        self._begun[member.replica] = member.arm_key, now
        return min(WAIT_FIRST_S * 2 ** (dead_n - YOUNG_N - 1), WAIT_MOST_S) if dead_n > YOUNG_N else 0.0

    def post(self, member: Member) -> None:
        """A replica says where it is, and how it is."""
        self._said[member.replica] = (member, monotonic())
        if member.state == "gone":
            self._begun.pop(member.replica, None)

    def members(self) -> list[Member]:
        """Those who said something of late."""
        now = monotonic()
        for replica, (member, at) in list(self._said.items()):
            if now - at > (REMEMBERED_S if member.state == "gone" else FRESH_S):
                self._said.pop(replica, None)
        return [member for member, _ in list(self._said.values())]

    def lacks(self, digests: list[str]) -> list[str]:
        """Which of these files must be brought. Agents ask every turn; what none has asked about for long goes."""
        now = monotonic()
        self._wanted_at.update(dict.fromkeys(digests, now))
        for digest in [digest for digest, at in list(self._wanted_at.items()) if now - at > REMEMBERED_S]:
            self._wanted_at.pop(digest, None)
            self._files.pop(digest, None)
        return [digest for digest in digests if digest not in self._files]

    def bring(self, digest: str, pieces: list[bytes]) -> None:
        """A file, whole."""
        self._files[digest] = pieces

    def pieces_n(self, digest: str) -> int:
        """Into how many pieces a file is cut; -1 for one that is not here."""
        pieces = self._files.get(digest)
        return -1 if pieces is None else len(pieces)

    def piece(self, digest: str, place: int) -> bytes:
        """One of them."""
        return self._files[digest][place]


def open_clerk() -> Any:
    """The cluster's one clerk, made if there is none. Needs a connection to Ray."""
    import ray  # noqa: PLC0415 - a gateway's other processes import this module, too

    made = ray.remote(Clerk).options(
        name=NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_concurrency=4,
    )
    return made.remote()


def fetched(clerk: Any, file: File, wait_s: float) -> Iterator[bytes]:
    """The pieces of a file, as soon as an agent has brought it. Raises TimeoutError."""
    import ray  # noqa: PLC0415

    until = monotonic() + wait_s
    ask: Any = ray.get
    while (pieces_n := ask(clerk.pieces_n.remote(file.digest), timeout=wait_s)) < 0:
        if monotonic() > until:
            raise TimeoutError(f"nobody has brought {file.name} within {wait_s:g} s")
        sleep(LOOK_S)
    for place in range(pieces_n):
        yield ask(clerk.piece.remote(file.digest, place), timeout=wait_s)
