"""What several gateways see of their arms is added up, and told in a line."""

import pytest

from gateway.arms import ArmSeen, HostedSeen, ReplicaSeen, arm_words, merge_arms, read_arms, tell_arm, write_arms


def replica(name="r1", state="ready", **more):
    return ReplicaSeen(name, "10.0.0.1", state, "socket and port", "cpu", **more)


def hosted(*replicas, least_n=2, **more):
    waiting_n = sum(each.waiting_n for each in replicas)
    there = HostedSeen("turnout-1", least_n, replicas=replicas, **more)
    return ArmSeen("digits", "digits-2", "ray", "cpu", waiting_n=waiting_n, hosted=there)


def test_a_line_says_how_an_arm_on_ray_stands():
    seen = hosted(replica(pending_n=3, waiting_n=1), replica("r2", is_ejected=True, ejections_n=2), died_n=1)
    says = "2 of 2 replicas ready; cpu; 3 calls under way, 1 call waits; 1 ejected now, 2 times in all"
    assert f"on Ray: {says}; 1 ended unasked" == arm_words(seen)


def test_a_line_says_what_is_amiss_in_rays_words():
    trouble = "Ray says DEPLOY_FAILED: no node has so many GPUs"
    seen = hosted(replica(state="lost"), replica("r2", "starting"), replica("r3", "gone"), trouble=trouble)
    says = "0 of 2 replicas ready; cpu; 1 lost; 1 starting; 0 calls under way, 0 calls wait"
    assert f"on Ray: {says}; {trouble}" == arm_words(seen)


def test_an_arm_that_scales_says_between_what():
    assert arm_words(hosted(replica(), least_n=0, most_n=3)).startswith("on Ray: 1 replicas ready, of 0 to 3; ")


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (
            ArmSeen("r", "a", "embedded", "cpu", is_degraded=True, waiting_n=2),
            "in the gateway; cpu although another was preferred; 2 calls wait",
        ),
        (ArmSeen("r", "a", "constant"), "a constant"),
        (ArmSeen("r", "a", "remote"), "runner remote; 0 calls wait"),
    ],
    ids=lambda each: each.runner if isinstance(each, ArmSeen) else "",
)
def test_an_arm_elsewhere_says_where_and_on_what(arm, words):
    assert words == arm_words(arm)


def test_what_two_gateways_see_of_a_replica_is_one_replica():
    """Calls are added up, what the replica says of itself is not, and who reaches it is believed."""
    here = hosted(replica(pending_n=2, open_n=5, waiting_n=1, ejections_n=1), died_n=1)
    there = hosted(replica(state="lost", pending_n=3, open_n=5, waiting_n=1, why="silent for 1.02 s"), died_n=1)
    seen = merge_arms([[here], [there]])["digits", "digits-2"]
    assert seen.hosted is not None
    (found,) = seen.hosted.replicas
    assert ("ready", 5, 5, 1, 1) == (found.state, found.pending_n, found.open_n, found.waiting_n, found.ejections_n)
    assert (1, 1) == (seen.waiting_n, seen.hosted.died_n)


def test_queues_of_several_gateways_are_added_up():
    one, other = (ArmSeen("r", "a", "embedded", "cpu", waiting_n=n) for n in (1, 2))
    assert 3 == merge_arms([[one], [other]])["r", "a"].waiting_n


def test_a_detour_counts_for_no_replica():
    seen = hosted(replica(), ReplicaSeen("detour", "", "ready", "detour"), least_n=1)
    assert arm_words(seen).startswith("on Ray: 1 of 1 replica ready; ")


def test_what_is_kept_is_read_again_and_what_is_strange_is_nothing():
    """Gateways of two releases may share a state."""
    arms = (hosted(replica()), ArmSeen("digits", "old", "embedded"))
    assert arms == read_arms(write_arms(arms))
    assert [(), ()] == [read_arms(""), read_arms('{"of": "another release"}')]


def test_everything_is_told_as_plain_values():
    told = tell_arm(hosted(replica(pending_n=3)))
    assert ([2, 2], 1, "turnout-1", 3) == (
        told["wanted"],
        told["ready"],
        told["application"],
        told["replicas"][0]["outstanding"],
    )
