"""Replicas that are killed and frozen while callers ask: each request is answered, each loss noticed in time.

Only `make chaos` does this: what it asks for are times.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import msgspec
import numpy as np
import onnx.parser
import pytest

from runners.core.tensor import InferenceRequest, Tensor
from runners.ray.endpoint import HopEndpoint
from runners.ray.members import Address, Member, Membership
from runners.ray.settings import Dial
from tests.chaos.marks import only_in_chaos

pytestmark = only_in_chaos

REPLICA = Path(__file__).parents[1] / "runners" / "ray" / "a_replica.py"
MODEL = '<ir_version: 9, opset_import: ["": 17]> m (float[N,4] x) => (float[N,4] y) { y = Neg(x) }'
REQUEST = InferenceRequest("m", (Tensor("x", "FP32", np.ones((1, 4), "<f4")),))
DEATHS_N = max(3, int(os.environ.get("TURNOUT_CHAOS_DEATHS", "0")) // 5)
FROZEN_S = 5.0  # after which a frozen replica gets no request
REPLICAS_N = 3


class Cluster:
    """Replicas as processes, and an endpoint that is told of them as Ray's agent would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started_n = 0
        self._seq = 0
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.members: dict[str, Member] = {}
        (folder / "m.onnx").write_bytes(onnx.parser.parse_model(MODEL).SerializeToString())
        self.secret = folder / "secret"
        self.secret.write_bytes(b"of sixteen bytes or more")
        self.endpoint = HopEndpoint("arm", Dial(self.secret))

    async def start(self) -> str:
        name = f"r{self._started_n}"
        self._started_n += 1
        words = [str(self._folder / "m.onnx"), name, str(self.secret), str(self._folder / f"{name}.sock"), "127.0.0.1"]
        process = subprocess.Popen(
            [sys.executable, str(REPLICA), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.processes[name] = process
        said = json.loads(await asyncio.to_thread(process.stdout.readline))
        self.members[name] = Member("arm", name, msgspec.convert(said["address"], Address))
        self.tell()
        return name

    def tell(self) -> None:
        self._seq += 1
        self.endpoint.update(Membership(self._seq, tuple(self.members.values())))

    def end(self, name: str) -> None:
        del self.members[name]
        process = self.processes.pop(name)
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()

    def live(self) -> set[str]:
        return {reading.replica for reading in self.endpoint.readings() if reading.state in {"live", "resting"}}

    async def close(self) -> None:
        await self.endpoint.close()
        for name in list(self.processes):
            self.end(name)


class Callers:
    """Ask all the time; each answer's time is kept, and everything that is no answer."""

    def __init__(self, endpoint: HopEndpoint, count: int = 8) -> None:
        self.sent_n = 0
        self.took_s: list[float] = []
        self.failures: list[str] = []
        self._going = True
        self._tasks = [asyncio.create_task(self._ask(endpoint)) for _ in range(count)]

    async def _ask(self, endpoint: HopEndpoint) -> None:
        while self._going:
            began_at = monotonic()
            self.sent_n += 1
            try:
                await endpoint.infer(REQUEST, deadline_at=began_at + 10)
                self.took_s.append(monotonic() - began_at)
            except Exception as error:
                self.failures.append(repr(error))
            await asyncio.sleep(0.002)

    async def stop(self) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)


async def until(condition: Callable[[], object]) -> float:
    """Wait for it, and say how long it took."""
    began_at = monotonic()
    while not condition():
        await asyncio.sleep(0.001)
    return monotonic() - began_at


@pytest.fixture
async def cluster(tmp_path):
    made = Cluster(tmp_path)
    for _ in range(REPLICAS_N):
        await made.start()
    await until(lambda: len(made.live()) == REPLICAS_N)
    yield made
    await made.close()


def report(capsys, what: str, callers: Callers, noticed_s: list[float]) -> None:
    times = sorted(callers.took_s)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{what}: {callers.sent_n} sent, {len(times)} answered, slowest {times[-1] * 1e3:.0f} ms, "
            f"loss noticed after {min(noticed_s) * 1e3:.0f} to {max(noticed_s) * 1e3:.0f} ms\n"
        )


async def test_each_request_is_answered_while_replicas_are_killed(cluster, capsys):
    """One after the other dies with requests under way, and another takes its place."""
    callers = Callers(cluster.endpoint)
    noticed_s = []
    for _ in range(DEATHS_N):
        name = random.choice(sorted(cluster.live()))
        await asyncio.sleep(random.uniform(0, 0.05))
        cluster.processes[name].send_signal(signal.SIGKILL)
        noticed_s.append(await until(lambda name=name: name not in cluster.live()))
        cluster.end(name)
        await cluster.start()
        await until(lambda: len(cluster.live()) == REPLICAS_N)
    await callers.stop()
    report(capsys, f"{DEATHS_N} killed", callers, noticed_s)
    assert [] == callers.failures
    assert callers.sent_n == len(callers.took_s)


async def test_a_frozen_replica_gets_no_request_after_five_seconds(cluster, capsys):
    """And is asked again once it has thawed; nobody's request is lost in either."""
    callers = Callers(cluster.endpoint)
    noticed_s = []
    for _ in range(max(3, DEATHS_N // 4)):
        name = random.choice(sorted(cluster.live()))
        cluster.processes[name].send_signal(signal.SIGSTOP)
        noticed_s.append(await until(lambda name=name: name not in cluster.live()))
        cluster.processes[name].send_signal(signal.SIGCONT)
        await until(lambda: len(cluster.live()) == REPLICAS_N)
    await callers.stop()
    report(capsys, f"{len(noticed_s)} frozen", callers, noticed_s)
    assert [] == callers.failures
    assert max(noticed_s) < FROZEN_S


async def test_frozen_callers_do_not_leave_a_replica(cluster):
    """The gateway itself may be stopped for a while: it wakes with all of its replicas."""
    lost_n = sum(reading.lost_n for reading in cluster.endpoint.readings())
    freeze = subprocess.Popen(["sh", "-c", f"kill -STOP {os.getpid()}; sleep 3; kill -CONT {os.getpid()}"])
    await asyncio.to_thread(freeze.wait)
    await asyncio.sleep(1)
    assert lost_n == sum(reading.lost_n for reading in cluster.endpoint.readings())
    assert len(cluster.live()) == REPLICAS_N
