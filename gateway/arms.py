"""How arms are run at the moment: values that gateways tell each other, add up, and put into words.

Nothing here decides anything: what is told may be some seconds old, and may be lost.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, json
from msgspec.structs import replace

RAY = "ray"
READY, LOST, DETOUR = "ready", "lost", "detour"
STATES = (READY, LOST, "draining", "starting", "gone")  # of what several say of one replica, the first counts


class ReplicaSeen(Struct, frozen=True):
    """One replica. `state` is starting, ready, draining, gone, or lost: said to be ready, and nobody here reaches it.

    `pending_n` are calls under way from gateways of this state, `open_n` those of everybody, as the replica says, and
    `waiting_n` those of them that wait for the model. `ejections_n` is how often a gateway's process had it rest, and
    `is_ejected` whether one does now.
    """

    replica: str
    node: str
    state: str
    address: str  # socket, port, socket and port, detour, or none
    provider: str = ""
    degraded: str = ""
    pending_n: int = 0
    open_n: int = 0
    waiting_n: int = 0
    is_ejected: bool = False
    ejections_n: int = 0
    why: str = ""


class HostedSeen(Struct, frozen=True):
    """What there is of an arm on Ray. With `most_n` there may be from `least_n` to that many replicas.

    `status` is Ray Serve's word, and `trouble` its own words for what is the matter, or why nobody can tell. `died_n`
    replicas have ended unasked since this gateway began to look; `untold_n` more than are listed are there.
    """

    application: str
    least_n: int
    most_n: int = 0
    status: str = ""
    trouble: str = ""
    died_n: int = 0
    replicas: tuple[ReplicaSeen, ...] = ()
    untold_n: int = 0

    def count(self, state: str) -> int:
        """Replicas in one of STATES. A detour is none: it leads to some of them."""
        return sum([each.state == state and each.address != DETOUR for each in self.replicas])

    @property
    def ready_n(self) -> int:
        return self.count(READY)

    @property
    def pending_n(self) -> int:
        return sum([each.pending_n for each in self.replicas])

    @property
    def waiting_n(self) -> int:
        return sum([each.waiting_n for each in self.replicas])

    @property
    def ejected_n(self) -> int:
        """Replicas that rest now."""
        return sum([each.is_ejected for each in self.replicas])


class ArmSeen(Struct, frozen=True):
    """One arm. `provider` is the one really in use, several with commas, "" where nobody has said; `waiting_n` calls
    wait for the model. `hosted` is None for what is not on Ray.
    """

    route: str
    arm: str
    runner: str
    provider: str = ""
    is_degraded: bool = False
    waiting_n: int = 0
    hosted: HostedSeen | None = None


def write_arms(arms: Sequence[ArmSeen]) -> str:
    """As text for the state."""
    return json.encode(arms).decode() if arms else ""


def read_arms(text: str) -> tuple[ArmSeen, ...]:
    """What was written; nothing where another version has written something else."""
    try:
        return json.decode(text, type=tuple[ArmSeen, ...]) if text else ()
    except ValueError:
        return ()


def merge_arms(told: Iterable[Sequence[ArmSeen]]) -> dict[tuple[str, str], ArmSeen]:
    """What several gateways see, by route and arm."""
    merged: dict[tuple[str, str], ArmSeen] = {}
    for arms in told:
        for arm in arms:
            before = merged.get((arm.route, arm.arm))
            merged[arm.route, arm.arm] = arm if before is None else _both(before, arm)
    return merged


def merge_replicas(seen: Iterable[ReplicaSeen]) -> tuple[ReplicaSeen, ...]:
    """What several processes see, each replica once."""
    merged: dict[str, ReplicaSeen] = {}
    for replica in seen:
        before = merged.get(replica.replica)
        merged[replica.replica] = replica if before is None else _one(before, replica)
    return tuple(merged.values())


def providers(names: Iterable[str]) -> str:
    """Each once, with commas."""
    return ", ".join(sorted({name for name in names if name}))


def arm_words(seen: ArmSeen) -> str:
    """How an arm is run, in a line."""
    waiting = f"{seen.waiting_n} {'call waits' if seen.waiting_n == 1 else 'calls wait'}"
    degraded = " although another was preferred" if seen.is_degraded else ""
    provider = [f"{seen.provider}{degraded}"] if seen.provider else []
    if seen.runner == "constant":
        return "a constant"
    if seen.hosted is None:
        place = "in the gateway" if seen.runner == "embedded" else f"runner {seen.runner}"
        return "; ".join([place, *provider, waiting])
    return "; ".join([f"on Ray: {_counted(seen.hosted)}", *provider, *_load(seen.hosted, waiting)])


def tell_arm(seen: ArmSeen) -> dict[str, Any]:
    """As plain values."""
    hosted = seen.hosted
    return {
        "arm": seen.arm,
        "runner": seen.runner,
        "sentence": arm_words(seen),
        "provider": seen.provider,
        "degraded": seen.is_degraded,
        "waiting": seen.waiting_n,
        "application": hosted.application if hosted else "",
        "wanted": [hosted.least_n, hosted.most_n or hosted.least_n] if hosted else None,
        "ready": hosted.ready_n if hosted else None,
        "status": hosted.status if hosted else "",
        "trouble": hosted.trouble if hosted else "",
        "died": hosted.died_n if hosted else 0,
        "untold": hosted.untold_n if hosted else 0,
        "replicas": [_tell_replica(each) for each in hosted.replicas] if hosted else [],
    }


def _tell_replica(each: ReplicaSeen) -> dict[str, Any]:
    return {
        "replica": each.replica,
        "node": each.node,
        "state": each.state,
        "address": each.address,
        "provider": each.provider,
        "degraded": each.degraded,
        "outstanding": each.pending_n,
        "open": each.open_n,
        "waiting": each.waiting_n,
        "ejected": each.is_ejected,
        "ejections": each.ejections_n,
        "why": each.why,
    }


def _counted(hosted: HostedSeen) -> str:
    if hosted.most_n:
        return f"{hosted.ready_n} replicas ready, of {hosted.least_n} to {hosted.most_n}"
    return f"{hosted.ready_n} of {hosted.least_n} replica{'' if hosted.least_n == 1 else 's'} ready"


def _load(hosted: HostedSeen, waiting: str) -> list[str]:
    others = {each.state for each in hosted.replicas if each.state not in (READY, "gone")}
    words = [f"{hosted.count(state)} {state}" for state in STATES if state in others]
    pending_n = hosted.pending_n
    words.append(f"{pending_n} call{'' if pending_n == 1 else 's'} under way, {waiting}")
    if ejections_n := sum(each.ejections_n for each in hosted.replicas):
        words.append(f"{hosted.ejected_n} ejected now, {ejections_n} times in all")
    if hosted.died_n:
        words.append(f"{hosted.died_n} ended unasked")
    if hosted.trouble:
        words.append(hosted.trouble)
    return words


def _both(one: ArmSeen, other: ArmSeen) -> ArmSeen:
    hosted = one.hosted or other.hosted
    waiting_n = one.waiting_n + other.waiting_n
    if one.hosted and other.hosted:
        hosted = _hosted_by_both(one.hosted, other.hosted)
        waiting_n = hosted.waiting_n
    return replace(
        one,
        provider=providers(name for each in (one, other) for name in each.provider.split(", ")),
        is_degraded=one.is_degraded or other.is_degraded,
        waiting_n=waiting_n,
        hosted=hosted,
    )


def _hosted_by_both(one: HostedSeen, other: HostedSeen) -> HostedSeen:
    if one.application != other.application:  # a change that only one of them has followed
        return one
    return replace(
        one,
        status=one.status or other.status,
        trouble=one.trouble or other.trouble,
        died_n=max(one.died_n, other.died_n),
        replicas=merge_replicas((*one.replicas, *other.replicas)),
        untold_n=max(one.untold_n, other.untold_n),
    )


def _one(before: ReplicaSeen, after: ReplicaSeen) -> ReplicaSeen:
    state = min(before.state, after.state, key=STATES.index)
    return replace(
        before,
        state=state,
        provider=before.provider or after.provider,
        degraded=before.degraded or after.degraded,
        pending_n=before.pending_n + after.pending_n,
        open_n=max(before.open_n, after.open_n),
        waiting_n=max(before.waiting_n, after.waiting_n),
        is_ejected=before.is_ejected or after.is_ejected,
        ejections_n=before.ejections_n + after.ejections_n,
        why=before.why or after.why,
    )
