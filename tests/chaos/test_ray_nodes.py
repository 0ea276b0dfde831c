"""A cluster that somebody else keeps loses its head and its nodes while clients ask, and gets them back.

Only `make chaos` does this: it takes minutes.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

import pytest

from runners.ray.agent import UNWANTED_S
from tests.chaos.marks import only_in_chaos
from tests.chaos.ray_clusters import (
    LINEAR,
    START_LIMIT_S,
    Clients,
    Nodes,
    agents,
    apply,
    on_ray,
    only_by,
    ready_replicas,
    report,
    wait_for,
    write_configs,
)
from tests.chaos.test_failing_shadows import accounts
from tests.gateway.cli.test_serve_rollouts import asked

pytestmark = only_in_chaos

AWAY_S = 150.0  # longer than Ray lets a driver live without a head
LONG_UNWANTED_S = 2 * UNWANTED_S
HERE = {"model": LINEAR, "role": "baseline"}


@pytest.fixture
def nodes():
    made = Nodes(Path(tempfile.mkdtemp(prefix="tr-")))
    yield made
    made.stop()


@pytest.fixture
def start(gateway_process, tmp_path, nodes):
    """Start a gateway with one route on the cluster; it and its clients are ended at the end of the test."""
    started = []

    def begin(route, name="state", **options):
        settings = {"ray": {"address": nodes.address, "secret_file": str(nodes.secret)}}
        folder = tmp_path / "configs"
        if not folder.exists():
            write_configs(folder, {"timeout": "5s", **route}, settings)
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        gateway = gateway_process([str(folder), *words], tmp_path / name, nodes.environment, START_LIMIT_S)
        started.append(gateway)
        return gateway

    yield begin
    for gateway in started:
        gateway.stop()


@pytest.fixture
def ask():
    """Let clients ask a gateway until the test is over."""
    asking = []

    def begin(gateway, **words):
        asking.append(Clients(gateway.http, **words))
        return asking[-1]

    yield begin
    for clients in asking:
        clients.end()


def shadows(gateway) -> Counter[str]:
    """Shadow calls on the route: due, pending, and those that had each outcome or were dropped for each reason."""
    return Counter({word: by_arm.total() for word, by_arm in accounts(gateway.metrics).items()})


def test_a_head_that_comes_back_after_minutes(nodes, start, ask):
    """The agent dies of it; another finds the new cluster at the old address and has everything hosted again."""
    head = nodes.start_head(cpus_n=2)
    arms = {"here": HERE, "there": on_ray("candidate", replicas=2)}
    gateway = start({"arms": arms, "strategy": {"kind": "ab", "shares": {"there": "100%"}}})
    clients = ask(gateway)
    wait_for(lambda: len(ready_replicas(gateway)) == 2 and only_by("there", clients), START_LIMIT_S)
    before, old = ready_replicas(gateway), agents(gateway)
    clients.begin()
    nodes.kill(head)
    away_at = monotonic()
    wait_for(lambda: "does not answer" in gateway.log(), AWAY_S)
    noticed_s = monotonic() - away_at
    sleep(AWAY_S - noticed_s)
    report(f"the head, for {AWAY_S:g} s", clients, f"noticed after {noticed_s:.1f} s")
    assert not set(old) & set(agents(gateway))
    clients.begin()
    nodes.start_head(cpus_n=2)
    answers_s = wait_for(lambda: f"{nodes.address} answers" in gateway.log(), START_LIMIT_S)
    whole_s = answers_s + wait_for(
        lambda: len(ready_replicas(gateway) - before) == 2 and only_by("there", clients), START_LIMIT_S
    )
    report("the head is back", clients, f"agent after {answers_s:.1f} s, whole after {whole_s:.1f} s")


def test_a_head_that_is_away_for_minutes_while_the_replicas_live(nodes, start, ask):
    """They are on another node and are asked as before. A new head knows neither that node nor what ran there: it ends,
    and when a node has come in its place all is whole again."""
    head, _ = nodes.start_head(cpus_n=1), nodes.start_node(cpus_n=4)
    arms = {"here": HERE, "there": on_ray("candidate", resources={"num_cpus": 2})}  # more than the head has
    gateway = start({"arms": arms, "strategy": {"kind": "ab", "shares": {"there": "100%"}}})
    clients = ask(gateway)
    wait_for(lambda: only_by("there", clients), START_LIMIT_S)
    clients.begin()
    nodes.kill(head)
    sleep(AWAY_S)
    report(f"the head alone, for {AWAY_S:g} s", clients, "still away")
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}
    assert "does not answer" in gateway.log()
    before = ready_replicas(gateway)
    clients.begin()
    nodes.start_head(cpus_n=1)
    answers_s = wait_for(lambda: f"{nodes.address} answers" in gateway.log(), START_LIMIT_S)
    nodes.start_node(cpus_n=4)
    whole_s = wait_for(lambda: ready_replicas(gateway) - before and only_by("there", clients), START_LIMIT_S)
    report("a new head, and a node", clients, f"agent after {answers_s:.1f} s, whole after {whole_s:.1f} s more")


def test_a_node_that_takes_a_canary_and_a_shadow_with_it(nodes, start, ask):
    """Clients see no failure, the canary is taken back for it, and no shadow call is lost without being counted."""
    nodes.start_head(cpus_n=1)
    node = nodes.start_node(cpus_n=4)
    arms = {
        "here": HERE,
        "there": on_ray("candidate", resources={"num_cpus": 2}),  # more than the head has
        "watched": on_ray("candidate", resources={"num_cpus": 1.5}),
    }
    strategy = {"kind": "canary", "candidate": "there", "ramp": [{"share": "50%", "bake": "1h"}]}
    gateway = start({"arms": arms, "strategy": strategy, "shadow": [{"candidate": "watched"}]})
    clients = ask(gateway)
    wait_for(lambda: shadows(gateway)["match"] and clients.told[200, "there", ""], START_LIMIT_S)
    clients.begin()
    before = shadows(gateway)
    nodes.kill(node)
    back_s = wait_for(lambda: asked(gateway, "/v1/routes/digits")["rollout"]["phase"] == "rolled_back", START_LIMIT_S)
    report("the node of a canary and a shadow", clients, f"rolled back after {back_s:.1f} s")
    assert {"here", "there"} == {arm for _, arm, _ in clients.told}
    assert "error_rate is proven worse than its bound" in asked(gateway, "/v1/routes/digits")["rollout"]["reason"]
    lost = shadows(gateway) - before
    sys.stdout.write(f"shadow calls since: {dict(lost)}\n")
    assert lost["not_ready"]
    matched_n = shadows(gateway)["match"]
    nodes.start_node(cpus_n=4)
    wait_for(lambda: shadows(gateway)["match"] > matched_n, START_LIMIT_S)
    clients.end()
    wait_for(lambda: not shadows(gateway)["pending"])
    now = shadows(gateway)
    assert now.pop("due") == now.total()


def test_two_gateways_on_one_cluster(nodes, start, ask, free_port, tmp_path):
    """They share what both need, what one of them still names stays, and the death of one is nothing to the other."""
    nodes.start_head(cpus_n=2)
    arms = {"here": HERE, "there": on_ray("candidate")}
    route = {"arms": arms, "strategy": {"kind": "ab", "shares": {"there": "100%"}}}
    one = start(route)
    (tmp_path / "state-2").symlink_to(one.state)
    two = start(route, "state-2", port=free_port)
    clients, others = ask(one), ask(two)
    for each in (clients, others):
        wait_for(lambda each=each: only_by("there", each), START_LIMIT_S)
    (shared,) = nodes.applications()
    clients.begin()
    others.end()
    two.kill()
    sleep(LONG_UNWANTED_S)
    report("another gateway on the cluster", clients, "-")
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}

    arms = {"here": HERE, "next": on_ray("candidate", resources={"num_cpus": 0.2})}
    assert 0 == apply(one, tmp_path / "configs", arms)[0]
    wait_for(lambda: only_by("next", clients))
    sleep(LONG_UNWANTED_S)
    assert shared in nodes.applications()  # the gateway that was killed named it last
    two = start(route, "state-2", port=free_port)
    gone_s = wait_for(lambda: len(nodes.applications()) == 1 and shared not in nodes.applications(), START_LIMIT_S)
    others = ask(two)
    wait_for(lambda: only_by("next", others), START_LIMIT_S)
    report("it is back, and needs the old arm no more", clients, f"which ends after {gone_s:.1f} s")
    assert {("there", ""), ("next", "")} == {(arm, why) for _, arm, why in clients.told}
