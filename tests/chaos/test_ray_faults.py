"""What hosts an arm dies part by part while clients ask: all are answered, and what came back is whole again.

Only `make chaos` does this: Ray takes seconds to start, and minutes to notice some of it.
"""

import os
import signal
import socket
import struct
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from runners.ray.local import processes_of
from tests.chaos.marks import only_in_chaos
from tests.chaos.ray_clusters import (
    LINEAR,
    START_LIMIT_S,
    Clients,
    agents,
    apply,
    kill,
    on_ray,
    only_by,
    ready_replicas,
    report,
    wait_for,
    words_of,
    write_configs,
)

pytestmark = only_in_chaos

OFTEN_N = 20  # two replicas, each killed every few seconds for two minutes, would be twice as many and more
ROUTE = {
    "timeout": "5s",
    "arms": {"here": {"model": LINEAR, "role": "baseline"}, "there": on_ray("candidate", replicas=2)},
    "strategy": {"kind": "ab", "shares": {"there": "100%"}},
}


class Site:
    """A gateway with a Ray of its own, which may be hurt."""

    def __init__(self, gateway, folder: Path) -> None:
        self.gateway, self.folder = gateway, folder
        head = next(each for each in Path("/proc").iterdir() if _is_head(each, gateway.process.pid))
        self._leader = int(head.name)

    def replicas(self) -> set[str]:
        return ready_replicas(self.gateway)

    def processes(self, mark: str) -> list[int]:
        """Of this gateway's Ray alone."""
        return [pid for pid in processes_of(self._leader) if mark in words_of(pid)]


def _is_head(process: Path, gateway: int) -> bool:
    with suppress(OSError, IndexError, ValueError):
        words = (process / "cmdline").read_bytes()
        parent = int((process / "stat").read_text().rpartition(") ")[2].split()[1])
        return b"ray.scripts" in words and parent == gateway
    return False


@pytest.fixture(scope="module")
def site(gateway_process, tmp_path_factory):
    folder = write_configs(tmp_path_factory.mktemp("ray") / "configs", ROUTE)
    gateway = gateway_process([str(folder), "--ray", "local"], folder.parent / "state", {}, START_LIMIT_S)
    made = Site(gateway, folder)
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


class Starts(threading.Thread):
    """Does something to every replica that starts from now on, once it `may` be done; others are left alone."""

    def __init__(self, site, do, may) -> None:
        super().__init__()
        self.met: list[int] = []
        self._spared = set(site.processes("ServeReplica"))
        self._site, self._do, self._may = site, do, may
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            for pid in set(self._site.processes("ServeReplica")) - self._spared - set(self.met):
                if self._may(pid):
                    self.met.append(pid)
                    self._do(pid)

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture
def at_start(site):
    """Have something done to every replica that starts, until the end of the test."""
    begun = []

    def begin(do, may=lambda _: True):
        begun.append(Starts(site, do, may))
        return begun[-1]

    yield begin
    for each in begun:
        each.end()


@pytest.fixture
def change(site):
    """Apply the route with another arm in place of `there`; it is as it was after the test."""

    def run(name: str, **words: object) -> tuple[int, str]:
        return apply(site.gateway, site.folder, {"here": ROUTE["arms"]["here"], name: on_ray("candidate", **words)})

    yield run
    assert 0 == apply(site.gateway, site.folder, ROUTE["arms"])[0]
    wait_for(lambda: len(site.replicas()) == 2)


def listens(pid: int) -> bool:
    """Whether a replica has opened its model: it has a socket from then on."""
    for file in (Path(tempfile.gettempdir()) / f"turnout-hop-{os.getuid()}").glob("*.sock"):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(file))
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", told)[0] == pid:
                return True
    return False


def freeze(pid: int, for_s: float) -> None:
    kill([pid], signal.SIGSTOP)
    threading.Timer(for_s, lambda: kill([pid], signal.SIGCONT)).start()


@contextmanager
def slowed(pids):
    """Let processes run for a twentieth of a second, and then stand still for three times as long, again and again."""
    ended = threading.Event()

    def slow() -> None:
        while not ended.wait(0.05):
            kill(pids, signal.SIGSTOP)
            sleep(0.15)
            kill(pids, signal.SIGCONT)

    thread = threading.Thread(target=slow)
    thread.start()
    yield
    ended.set()
    thread.join()


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


def test_replicas_that_are_slow(site, clients):
    """One of two rests; when both are slow neither does, for the last one is never sent away."""
    one, other = site.processes("ServeReplica")
    with slowed([one]):
        rests_s = wait_for(lambda: " rests for " in site.gateway.log())
        wait_for(lambda: only_by("there", clients))
    report("one of two replicas, slow", clients, f"rests after {rests_s:.1f} s")
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}
    clients.begin()
    with slowed([one, other]):
        wait_for(lambda: clients.told.total() > 100)
    report("both, slow", clients, "-")
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}


def test_a_new_arm_whose_replicas_are_killed_at_their_start(site, clients, at_start, change):
    """As by the kernel where memory is short. It is refused with Ray's words, and the live arm notices nothing."""
    killer = at_start(lambda pid: kill([pid]))
    began_at = monotonic()
    status, said = change("heavy", resources={"num_cpus": 0.2})
    took_s = monotonic() - began_at
    sys.stdout.write(f"\n{said}\n")
    assert 2 == status, said
    assert "arm 'heavy'" in said
    assert "killed by the OOM killer" in said
    killed_n = len(killer.met)
    sleep(30)
    report("a new arm dies at every start", clients, f"refused after {took_s:.1f} s, {killed_n} starts")
    assert len(killer.met) <= killed_n + 1  # one may have been on its way
    assert {("there", "")} == {(arm, why) for _, arm, why in clients.told}


def test_replicas_that_die_again_and_again(site, clients, at_start):
    """As for want of memory, each as soon as it holds its model. The next ones wait ever longer before they open it,
    and the baseline answers."""
    killer = at_start(lambda pid: kill([pid]), may=listens)
    kill(site.processes("ServeReplica"))
    sleep(120)
    killed_n = len(killer.met)
    killer.end()
    whole_s = wait_for(lambda: len(site.replicas()) == 2 and only_by("there", clients), START_LIMIT_S)
    report("all replicas, again and again for 120 s", clients, f"{killed_n} killed, whole after {whole_s:.1f} s")
    assert killed_n < OFTEN_N


def test_a_new_arm_that_takes_40_s_to_start(site, clients, at_start, change):
    """The change waits for it; until then the arm that is live answers, and from then on the new one."""
    frozen = at_start(lambda pid: freeze(pid, 40.0))
    began_at = monotonic()
    status, said = change("late", resources={"num_cpus": 0.2})
    took_s = monotonic() - began_at
    assert 0 == status, said
    assert frozen.met
    wait_for(lambda: only_by("late", clients))
    report("a new arm, frozen for 40 s at its start", clients, f"live after {took_s:.1f} s")
    assert {("there", ""), ("late", "")} == {(arm, why) for _, arm, why in clients.told}


def test_all_of_ray(site, clients):
    """Last of all: nothing of it comes back. The arm that the gateway holds answers for as long as it takes."""
    kill(site.processes("raylet") + site.processes("gcs_server"))
    wait_for(lambda: not site.processes("ServeReplica"))
    sleep(5)
    report("all of Ray", clients, "still away")
    clients.begin()
    sleep(2)
    assert {("here", "not_ready")} == {(arm, why) for _, arm, why in clients.told}
