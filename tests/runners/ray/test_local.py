"""Ending a cluster of one node: all that its head started has ended when it is over."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

from runners.ray.local import end_session

CHILD = "import os, signal, time; os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
LEADER = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", sys.argv[1]], env={}) for _ in range(3)]
print(*(each.pid for each in children), flush=True)
time.sleep(600)
"""


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def family() -> tuple[subprocess.Popen, list[int]]:
    """A leader and its children, in process groups and with environments of their own, as workers of Ray are."""
    command = [sys.executable, "-c", LEADER, CHILD]
    leader = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout is not None
    with leader.stdout as said:
        return leader, [int(each) for each in said.readline().split()]


def test_whoever_was_started_has_ended_even_without_its_leader() -> None:
    leader, children = family()
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    end_session(leader.pid)
    assert [has_ended(pid) for pid in children] == [True] * 3


def test_a_leader_that_nobody_waited_for_ends_too_and_does_not_keep_its_killer_waiting() -> None:
    leader, children = family()
    before = monotonic()
    end_session(leader.pid)
    assert monotonic() - before < 9  # it gives up after ten
    assert leader.wait() == -signal.SIGKILL
    assert all(map(has_ended, children))


def test_other_sessions_are_left_alone() -> None:
    leader, children = family()
    other, others = family()
    end_session(leader.pid)
    sleep(0.1)
    assert not any(map(has_ended, [other.pid, *others, os.getpid()]))
    end_session(other.pid)
    other.wait()
    leader.wait()
    assert all(map(has_ended, [*children, *others]))
