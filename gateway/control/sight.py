"""How the arms of this gateway are run at the moment: what its workers and the cluster say of them, put together."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.arms import DETOUR, LOST, READY, ArmSeen, HostedSeen, ReplicaSeen, merge_replicas, providers
from gateway.config.compiled import CompiledArm, CompiledRoute
from gateway.control.cluster import Cluster
from observability.merge import Snapshot
from runners.ray.members import Address, Member, State
from runners.ray.readings import LIVE, RESTING, PeerReading

TOLD_N = 256  # replicas of all arms that are told of one by one
WHY_N = 400  # characters of what somebody else has said
RUNNING = "RUNNING"
LISTED = {LIVE: READY, RESTING: READY, LOST: LOST}  # what a state of a reading is called for people

Readings = Mapping[str, Sequence[PeerReading]]  # by application
Snapshots = Sequence[Snapshot]


def seen_arms(
    routes: Iterable[CompiledRoute], snapshots: Snapshots, readings: Sequence[Readings], cluster: Cluster | None
) -> tuple[ArmSeen, ...]:
    """Every arm. `snapshots` and `readings` are the workers', as each of them told them last."""
    ran, waiting = _ran_on(snapshots), _waiting(snapshots)
    found, left_n = [], TOLD_N
    for route in routes:
        for compiled in route.arms:
            place = route.name, compiled.arm.name
            hosting = compiled.model.hosting
            if cluster is not None and hosting is not None and hosting.key:
                arm = _hosted(route.name, compiled, readings, cluster, left_n)
                left_n -= len(arm.hosted.replicas) if arm.hosted else 0
            else:
                used = ran.get(place, {})
                provider, is_degraded = providers(used), any(used.values())
                arm = ArmSeen(*place, compiled.runner, provider, is_degraded, waiting.get(place, 0))
            found.append(arm)
    return tuple(found)


def _hosted(route: str, compiled: CompiledArm, readings: Sequence[Readings], cluster: Cluster, left_n: int) -> ArmSeen:
    hosting = compiled.model.hosting
    assert hosting is not None
    replicas = _replicas(hosting.key, cluster.membership.of(hosting.key), readings)
    app = cluster.apps.get(hosting.key)
    trouble = f"Ray does not answer: {cluster.trouble}" if cluster.trouble else ""
    if app is not None and app.status != RUNNING and not trouble:
        trouble = f"Ray says {app.status}" + (f": {app.message}" if app.message else "")
    hosted = HostedSeen(
        hosting.key,
        hosting.replicas,
        hosting.most,
        app.status if app else "",
        trouble[:WHY_N],
        cluster.absentees.died_n[hosting.key],
        replicas[:left_n],
        len(replicas[left_n:]),
    )
    used = [each for each in replicas if each.state == READY]
    return ArmSeen(
        *(route, compiled.arm.name, compiled.runner, providers(each.provider for each in used)),
        is_degraded=any(each.degraded for each in used),
        waiting_n=sum(each.waiting_n for each in replicas),
        hosted=hosted,
    )


def _replicas(key: str, members: Iterable[Member], readings: Sequence[Readings]) -> tuple[ReplicaSeen, ...]:
    """Who is listed, as far as nobody who asks knows better, and who is asked though nobody lists it any more."""
    listed = {member.replica: member for member in members}
    read = [each for told in readings for each in told.get(key, ()) if each.replica in listed or _is_live(each)]
    asked = merge_replicas(_read(each, listed.get(each.replica)) for each in read)
    known = {each.replica for each in asked}
    others = [
        ReplicaSeen(member.replica, member.node, member.state.value, _way(member))
        for member in listed.values()
        if member.replica not in known
    ]
    return (*asked, *others)


def _is_live(reading: PeerReading) -> bool:
    return reading.state in (LIVE, RESTING)


def _read(reading: PeerReading, member: Member | None) -> ReplicaSeen:
    state = LISTED.get(reading.state, reading.state)
    if member is not None and member.state is not State.READY:
        state = member.state.value
    return ReplicaSeen(
        reading.replica,
        reading.node,
        state,
        _way(member) if member else "",
        reading.provider,
        reading.degraded,
        reading.pending_n,
        reading.open_n,
        reading.waiting_n,
        reading.state == RESTING,
        reading.rested_n,
        ("" if state == READY else reading.why[:WHY_N]) if member else "nobody lists it at the moment",
    )


def _way(member: Member) -> str:
    """How it can be reached."""
    address: Address = member.address
    if member.is_detour:
        return DETOUR
    return " and ".join([word for word, there in (("socket", address.unix), ("port", address.host)) if there]) or "none"


def _ran_on(snapshots: Snapshots) -> dict[tuple[str, str], dict[str, bool]]:
    """Route and arm to the providers in use, and whether others were preferred."""
    found: defaultdict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
    for labels, value in _samples(snapshots, "turnout_arm_degraded"):
        used = found[labels["route"], labels["arm"]]
        used[labels["provider"]] = used.get(labels["provider"], False) or value > 0
    return found


def _waiting(snapshots: Snapshots) -> dict[tuple[str, str], int]:
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for labels, value in _samples(snapshots, "turnout_batch_waiting"):
        found[labels["route"], labels["arm"]] += int(value)
    return found


def _samples(snapshots: Snapshots, family: str) -> Iterator[tuple[Mapping[str, str], float]]:
    for snapshot in snapshots:
        for each in snapshot:
            if each.name == family:
                for sample in each.samples:
                    yield sample.labels, sample.value
