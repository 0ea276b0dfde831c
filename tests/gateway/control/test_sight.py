"""How arms are run, from what workers and the cluster have said of them."""

import pytest
from msgspec.structs import replace

from gateway.control import sight
from gateway.control.cluster import Cluster, ClusterPlace
from gateway.control.sight import seen_arms
from observability.merge import snapshot_of
from observability.metrics import Metrics
from runners.core.batch_counts import BatchCounts
from runners.core.runner import Hosting
from runners.ray.members import Address, Member, Membership, State
from runners.ray.readings import PeerReading
from runners.ray.wanted import AppSeen

KEY = "turnout-1"
CPU, CUDA = "cpu", "cuda"


def member(name, state=State.READY, **more):
    return Member(KEY, name, Address("/s", "10.0.0.1", 7000), "10.0.0.1", state, **more)


def reading(name, state="live", why="", pending_n=0, **more):
    return PeerReading(name, "10.0.0.1", state, why, pending_n, 0.0, 0, provider=CPU, **more)


@pytest.fixture
def route(compile_changed):
    """The base route with its candidate on Ray."""
    compiled = compile_changed()
    arms = [
        replace(each, runner="ray", model=replace(each.model, hosting=Hosting(KEY, replicas=2)))
        if each.arm.name == "new"
        else each
        for each in compiled.arms
    ]
    return replace(compiled, arms=tuple(arms))


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(ClusterPlace("h:1", tmp_path))
    made.apps = {KEY: AppSeen(KEY, "RUNNING")}
    return made


@pytest.fixture
def look(route, cluster):
    """The candidate's replicas, by name, once these are listed and read by one worker each."""

    def looked(members=(), *workers):
        cluster.membership = Membership(1, tuple(members))
        arm = next(each for each in seen_arms([route], [], [{KEY: told} for told in workers], cluster) if each.hosted)
        return arm, {each.replica: each for each in arm.hosted.replicas}

    return looked


def test_what_workers_see_of_a_replica_is_added_up(look):
    there = {"pending_n": 2, "open_n": 9, "waiting_n": 4}
    arm, replicas = look([member("a")], [reading("a", **there)], [reading("a", "resting", rested_n=1, **there)])
    found = replicas["a"]
    assert ("ready", 4, 9, 4, 1) == (found.state, found.pending_n, found.open_n, found.waiting_n, found.ejections_n)
    assert (True, "socket and port", CPU) == (found.is_ejected, found.address, arm.provider)
    assert (1, 2, 4) == (arm.hosted.ready_n, arm.hosted.least_n, arm.waiting_n)


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.GONE])
def test_the_list_says_what_becomes_of_a_replica(look, state):
    assert state == look([member("a", state)], [reading("a", "lost")])[1]["a"].state


def test_a_replica_that_nobody_reaches_is_lost_and_says_why(look):
    found = look([member("a")], [reading("a", "lost", "silent for 1.02 s")])[1]["a"]
    assert ("lost", "silent for 1.02 s") == (found.state, found.why)


def test_a_replica_that_nobody_asks_yet_is_as_the_list_says(look):
    assert "ready" == look([member("a")])[1]["a"].state


def test_a_replica_that_answers_though_nobody_lists_it_is_told(look):
    """The list's keeper may be away, and its replicas answer."""
    replicas = look([], [reading("a"), reading("b", "lost")])[1]
    assert {"a": "nobody lists it at the moment"} == {name: each.why for name, each in replicas.items()}


def test_what_ray_says_is_told(look, cluster):
    cluster.apps = {KEY: AppSeen(KEY, "DEPLOY_FAILED", "no node has so many GPUs")}
    assert "Ray says DEPLOY_FAILED: no node has so many GPUs" == look()[0].hosted.trouble
    cluster.trouble = "nobody can be reached there"
    assert "Ray does not answer: nobody can be reached there" == look()[0].hosted.trouble


def test_no_more_are_told_one_by_one_than_somebody_reads(look, monkeypatch):
    monkeypatch.setattr(sight, "TOLD_N", 2)
    arm, replicas = look([member(name) for name in "abc"])
    assert (2, 1) == (len(replicas), arm.hosted.untold_n)


def test_arms_in_the_gateway_say_what_they_run_on_and_how_many_calls_wait(route):
    """As the workers' metrics have it, which are asked for anyway."""
    counts = BatchCounts()
    counts.queue = [1, 2]
    snapshots = []
    for provider in (CPU, CUDA):
        metrics = Metrics("0.1.0")
        meter = metrics.route("digits", "canary", [("old", "1"), ("new", "1"), ("dumb", "1")])
        meter.set_provider("old", provider, degraded=provider == CPU)
        meter.watch_batches("old", counts)
        snapshots.append(snapshot_of(metrics.collect()))
    found = {each.arm: each for each in seen_arms([route], snapshots, [], None)}
    assert (f"{CPU}, {CUDA}", True, 4) == (found["old"].provider, found["old"].is_degraded, found["old"].waiting_n)
    assert found["new"].hosted is None
