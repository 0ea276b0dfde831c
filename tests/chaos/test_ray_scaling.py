"""An arm on Ray grows while many ask it at once and shrinks when they have gone, by what its hops have under way.

Only `make chaos` does this: Ray takes its time to be sure.
"""

import pytest

from tests.chaos.marks import only_in_chaos
from tests.chaos.ray_clusters import (
    LINEAR,
    ROOT,
    START_LIMIT_S,
    Clients,
    on_ray,
    only_by,
    ready_replicas,
    report,
    wait_for,
    write_configs,
)

pytestmark = only_in_chaos

MANY_N, MOST_N = 12, 3


@pytest.fixture
def gateway(gateway_process, tmp_path):
    slow = on_ray("candidate", model=f"file:{ROOT}/examples/faults/slow.onnx")
    arms = {
        "here": {"model": LINEAR, "role": "baseline"},
        "there": slow | {"autoscaling": {"min": 1, "max": MOST_N, "target": 2}},
    }
    route = {"timeout": "30s", "arms": arms, "strategy": {"kind": "ab", "shares": {"there": "100%"}}}
    folder = write_configs(tmp_path / "configs", route)
    made = gateway_process([str(folder), "--ray", "local"], tmp_path / "state", {}, START_LIMIT_S)
    yield made
    made.stop()


def test_an_arm_grows_from_one_replica_to_three_and_shrinks_to_one_again(gateway):
    """No request passes through Ray, so what it scales by is what the replicas say; nobody is lost on either way."""
    few = Clients(gateway.http, connections_n=1)
    many = None
    try:
        wait_for(lambda: only_by("there", few), START_LIMIT_S)
        assert 1 == len(ready_replicas(gateway))
        few.begin()
        many = Clients(gateway.http, connections_n=MANY_N)
        grown_s = wait_for(lambda: len(ready_replicas(gateway)) == MOST_N, START_LIMIT_S)
        many.end()
        shrunk_s = wait_for(lambda: len(ready_replicas(gateway)) == 1, START_LIMIT_S)
    finally:
        for clients in (few, many):
            if clients is not None:
                clients.end()
    few.told += many.told
    report("from one to three replicas and back", few, f"grown after {grown_s:.1f} s, shrunk after {shrunk_s:.1f} s")
    assert {("there", "")} == {(arm, why) for _, arm, why in few.told}
