"""A state whose file was cut or has a bit flipped: the last good revision is served, or a clear line says why none is.

A hundred starts in one process and a few of the real command in the ordinary suite; a hundred of both in `make chaos`.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

import pytest

from gateway.config.problems import ConfigRefused
from gateway.control.boot import BootRefused, Offer, boot
from gateway.publishing.change import Apply, ChangeRefused, Request
from gateway.publishing.publisher import Publisher
from gateway.publishing.rehearsal import Rehearsal
from gateway.state.errors import StateError
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from tests.chaos.conftest import revision_served

ROOT = Path(__file__).parents[2]
LINEAR = ROOT / "configs" / "models" / "digits-linear.onnx"
DAMAGES_N = 100
STARTS_N = 100 if "TURNOUT_CHAOS_DEATHS" in os.environ else 4
REVISIONS_N = 12
REFUSALS = (
    BootRefused,
    ConfigRefused,
    ChangeRefused,
    StateError,
    OSError,
    ValueError,
)  # what the command says in a line
SERVING = re.compile(r"at http://\S+?:(\d+), grpc")
LIMIT_S = 60


def documents(number: int) -> dict[str, str]:
    arms = {"linear": {"model": f"file:{LINEAR}", "role": "baseline"}}
    document = {"turnout": "v1", "route": "digits", "arms": arms, "strategy": {"kind": "baseline"}}
    return {"routes/digits.yaml": json.dumps(document | {"timeout": f"{10_000 + number}ms"})}


@pytest.fixture
async def state(tmp_path):
    """A directory's state after some revisions, whole."""
    config = tmp_path / "config"
    (config / "routes").mkdir(parents=True)
    (config / "routes" / "digits.yaml").write_text(documents(0)["routes/digits.yaml"])
    shelf = Shelf(tmp_path / "whole")
    publisher = Publisher(shelf, config, Rehearsal(is_opening=False))
    await boot(publisher, shelf, offer(config), "here:0")
    for number in range(1, REVISIONS_N):
        await publisher.publish(Request(Apply(documents(number)), "ann", Cause.APPLY))
    shelf.close()
    return tmp_path / "whole"


def offer(config: Path) -> Offer:
    return Offer(str(config.resolve()), "ann", documents(0), config)


def damaged(state: Path, number: int, chance: random.Random) -> Path:
    """A copy whose database lacks its end, or has a bit that is another."""
    copy = state.with_name(f"damaged-{number}")
    shutil.copytree(state, copy)
    file = copy / "state.db"
    whole = file.read_bytes()
    place = chance.randrange(len(whole)) if number else 0
    flipped = bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :]
    file.write_bytes(whole[:place] + (b"" if number % 3 == 0 else flipped))
    return copy


async def test_no_damage_makes_another_revision_live(state):
    """A hundred times: what was live last, from the file or from the snapshot, or a refusal in words."""
    chance, config, outcomes = random.Random(3), state.with_name("config"), Counter()
    for number in range(DAMAGES_N):
        copy = damaged(state, number, chance)
        shelf = Shelf(copy)
        publisher = Publisher(shelf, config, Rehearsal(is_opening=False))
        try:
            await boot(publisher, shelf, offer(config), "here:0")
        except REFUSALS:
            outcomes["refused"] += 1
        else:
            assert publisher.meaning.number == REVISIONS_N
            assert dict(publisher.meaning.content.documents) == documents(REVISIONS_N - 1)
            outcomes["served"] += 1
        finally:
            shelf.close()
        shutil.rmtree(copy)
    assert outcomes["served"] > DAMAGES_N / 2
    assert sum(outcomes.values()) == DAMAGES_N


@pytest.mark.timeout(900)
def test_the_command_serves_what_was_live_or_ends_with_one_line(state):
    chance, config = random.Random(4), state.with_name("config")
    for number in range(STARTS_N):
        copy = damaged(state, number, chance)
        log = copy / "log"
        command = [sys.executable, "-m", "gateway", "serve", config, "--port", "0", "--state", copy]
        with log.open("wb") as out, started([*map(str, command)], out) as process:
            port = port_of(process, log)
            if port:
                assert revision_served(port) == REVISIONS_N
                os.killpg(process.pid, signal.SIGKILL)  # all of them: workers outlive the control process
        text = log.read_text()
        assert "Traceback" not in text, text
        if not port:
            assert process.returncode == 2, text
            assert "cannot start: " in text.splitlines()[-1]
        shutil.rmtree(copy)


def started(command: list[str], log) -> subprocess.Popen:
    return subprocess.Popen(command, stderr=log, start_new_session=True)


def port_of(process: subprocess.Popen, log: Path) -> int:
    """Where it serves, 0 when it has ended."""
    ends_at = monotonic() + LIMIT_S
    while process.poll() is None:
        found = SERVING.search(log.read_text())
        if found:
            return int(found[1])
        assert monotonic() < ends_at, log.read_text()
        sleep(0.02)
    return 0
