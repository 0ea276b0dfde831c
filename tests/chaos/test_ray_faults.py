"""What hosts an arm dies part by part while clients ask: all are answered, and what came back is whole again.

Only `make chaos` does this: Ray takes seconds to start, and minutes to notice some of it.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest

from tests.chaos.ray_clusters import (
    LINEAR,
    START_LIMIT_S,
    Clients,
    agents,
    kill,
    on_ray,
    only_by,
    ready_replicas,
    report,
    wait_for,
    write_configs,
)

pytestmark = pytest.mark.skipif("TURNOUT_CHAOS_DEATHS" not in os.environ, reason="make chaos kills Ray")

ROUTE = {
    "timeout": "5s",
    "arms": {"here": {"model": LINEAR, "role": "baseline"}, "there": on_ray("candidate", replicas=2)},
    "strategy": {"kind": "ab", "shares": {"there": "100%"}},
}


class Site:
    """A gateway with a Ray of its own, which may be hurt."""

    def __init__(self, gateway) -> None:
        self.gateway = gateway
        head = next(each for each in Path("/proc").iterdir() if _is_head(each, gateway.process.pid))
        words = (head / "cmdline").read_bytes().split(b"\0")
        self._folder = next(word for word in words if word.startswith(b"--temp-dir=")).partition(b"=")[2]

    def replicas(self) -> set[str]:
        return ready_replicas(self.gateway)

    def processes(self, mark: str) -> list[int]:
        """Of this gateway's Ray alone: its folder is in everybody's environment or on the command line."""
        sought, found = self._folder, []
        for each in (each for each in Path("/proc").iterdir() if each.name.isdigit()):
            with suppress(OSError):
                words = (each / "cmdline").read_bytes()
                if mark.encode() in words and sought in words + (each / "environ").read_bytes():
                    found.append(int(each.name))
        return found


def _is_head(process: Path, gateway: int) -> bool:
    with suppress(OSError, IndexError, ValueError):
        words = (process / "cmdline").read_bytes()
        parent = int((process / "stat").read_text().rpartition(") ")[2].split()[1])
        return b"ray.scripts" in words and parent == gateway
    return False


@pytest.fixture(scope="module")
def site(gateway_process, tmp_path_factory):
    folder = write_configs(tmp_path_factory.mktemp("ray") / "configs", ROUTE)
    made = Site(gateway_process([str(folder), "--ray", "local"], folder.parent / "state", {}, START_LIMIT_S))
    wait_for(lambda: len(made.replicas()) == 2, START_LIMIT_S)
    yield made
    made.gateway.stop()


@pytest.fixture
def clients(site):
    asking = Clients(site.gateway.http)
    sleep(1)
    asking.begin()
    yield asking
    asking.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_of_two_replicas(site, clients, number):
    before = site.replicas()
    kill(site.processes("ServeReplica")[:1], number)
    whole_s = wait_for(lambda: len(site.replicas()) == 2 and site.replicas() != before and only_by("there", clients))
    report(f"one of two replicas, {number.name}", clients, f"whole after {whole_s:.1f} s")
    assert {"there"} == {arm for _, arm, _ in clients.told}


def test_all_replicas_at_once(site, clients):
    before = site.replicas()
    kill(site.processes("ServeReplica"))
    whole_s = wait_for(lambda: len(site.replicas() - before) == 2 and only_by("there", clients))
    report("all replicas", clients, f"whole after {whole_s:.1f} s")


def test_the_agent(site, clients):
    (old,) = agents(site.gateway)
    kill([old])
    whole_s = wait_for(lambda: bool(agents(site.gateway)) and agents(site.gateway) != [old])
    sleep(3)
    report("the agent", clients, f"whole after {whole_s:.1f} s")
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}


def test_the_controller_and_then_a_replica(site, clients):
    before = site.replicas()
    kill(site.processes("ServeController"))
    sleep(1)
    kill(site.processes("ServeReplica")[:1])
    whole_s = wait_for(lambda: len(site.replicas()) == 2 and site.replicas() != before and only_by("there", clients))
    report("Serve's controller, a replica a second later", clients, f"whole after {whole_s:.1f} s")


def test_the_clerk(site, clients):
    kill(site.processes("Clerk"))
    sleep(6)
    whole_s = wait_for(lambda: len(site.replicas()) == 2 and only_by("there", clients))
    report("the clerk", clients, f"whole after {whole_s:.1f} s")
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}


def test_all_of_ray(site, clients):
    """Last of all: nothing of it comes back. The arm that the gateway holds answers for as long as it takes."""
    kill(site.processes("raylet") + site.processes("gcs_server"))
    wait_for(lambda: not site.processes("ServeReplica"))
    sleep(5)
    report("all of Ray", clients, "still away")
    clients.begin()
    sleep(2)
    assert {("here", "not_ready")} == {(arm, why) for _, arm, why in clients.told}
