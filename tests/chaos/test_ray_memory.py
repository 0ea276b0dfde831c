"""Ray's memory monitor ends what it hosts while clients ask, for the node's memory runs out: all are answered.

Only `make chaos` does this: it takes two gigabytes of the machine's memory for half a minute.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

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

ROUTE = {
    "timeout": "5s",
    "arms": {"here": {"model": LINEAR, "role": "baseline"}, "there": on_ray("candidate", replicas=2)},
    "strategy": {"kind": "ab", "shares": {"there": "100%"}},
}
ROOM_BYTES = 2 << 30  # beyond what is in use now, where Ray's limit shall be: more than it and its replicas take
SHORT_S = 30.0
MOST_BYTES = 3 * ROOM_BYTES  # that are taken, whatever others on the machine give back meanwhile
HOG = """
import os, sys, threading, time
from tests.chaos.test_ray_memory import memory

def end():
    sys.stdin.read()
    os._exit(0)

threading.Thread(target=end).start()
taken = []
while True:
    if memory()[0] < int(sys.argv[1]) and len(taken) < int(sys.argv[2]) >> 26:
        taken.append(bytearray(1 << 26))
        taken[-1][::4096] = b"x" * len(taken[-1][::4096])
    else:
        time.sleep(0.05)
"""


def memory() -> tuple[int, int]:
    """What is in use, and all there is, as Ray counts it."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    return total - available, total


@contextmanager
def in_use(size: int) -> Iterator[None]:
    """Another process takes memory until so much of the machine's is in use, and has it stay so."""
    hog = subprocess.Popen(
        [sys.executable, "-c", HOG, str(size), str(MOST_BYTES)],
        stdin=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield
    finally:
        hog.stdin.close()
        hog.wait()


@pytest.fixture
def limit() -> float:
    """The share of the machine's memory beyond which Ray ends what it hosts."""
    used, total = memory()
    if used + 2 * ROOM_BYTES > 0.9 * total:
        pytest.skip("less than 4 GiB of this machine's memory are free")
    return (used + ROOM_BYTES) / total


@pytest.fixture
def gateway(gateway_process, tmp_path, limit):
    folder = write_configs(tmp_path / "configs", ROUTE)
    monitor = {"RAY_memory_usage_threshold": f"{limit:.4f}", "RAY_memory_monitor_refresh_ms": "250"}
    made = gateway_process([str(folder), "--ray", "local"], tmp_path / "state", monitor, START_LIMIT_S)
    yield made
    made.stop()


def test_replicas_that_ray_ends_for_want_of_memory(gateway, limit):
    """Those that are left answer, or the baseline does; when there is memory again all is as before."""
    clients = Clients(gateway.http)
    try:
        wait_for(lambda: len(ready_replicas(gateway)) == 2 and only_by("there", clients), START_LIMIT_S)
        clients.begin()
        with in_use(int(limit * memory()[1]) + (1 << 28)):
            ended_s = wait_for(lambda: "here" in {arm for _, arm, _ in clients.told})
            sleep(SHORT_S)
        whole_s = wait_for(lambda: len(ready_replicas(gateway)) == 2 and only_by("there", clients), START_LIMIT_S)
    finally:
        clients.end()
    outcome = f"all had ended after {ended_s:.1f} s, whole {whole_s:.1f} s after there was memory again"
    report(f"memory, for {SHORT_S:g} s", clients, outcome)
