"""How replicas are printed: a line for every arm on Ray, and each of them where one route is asked for."""

from gateway.arms import ArmSeen, HostedSeen, ReplicaSeen, tell_arm
from gateway.cli.arms import print_arms

REPLICA = ReplicaSeen("r1", "10.0.0.1", "lost", "port", "cpu", why="silent for 1.02 s")
HOSTED = ArmSeen("digits", "digits-2", "ray", "", hosted=HostedSeen("turnout-1", 2, replicas=(REPLICA,), untold_n=7))
ARMS = [tell_arm(each) for each in (HOSTED, ArmSeen("digits", "digits-1", "embedded", "cpu"))]


def test_a_status_has_a_line_for_each_arm_on_ray(capsys):
    print_arms(ARMS, is_whole=False)
    assert ["  digits-2 on Ray: 0 of 2 replicas ready; 1 lost; 0 calls under way, 0 calls wait"] == (
        capsys.readouterr().out.splitlines()
    )


def test_a_route_has_all_its_arms_and_each_replica(capsys):
    print_arms(ARMS, is_whole=True)
    _, here, heads, replica, more = capsys.readouterr().out.splitlines()
    assert "  digits-1 in the gateway; cpu; 0 calls wait" == here
    assert ["arm", "replica", "node", "state"] == heads.split()[:4]
    assert replica.split()[:5] == ["digits-2", "r1", "10.0.0.1", "lost", "port"]
    assert replica.endswith("never    silent for 1.02 s")
    assert "digits-2: 7 replicas more" == more
