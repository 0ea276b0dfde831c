"""A driver of Ray that waits in vain is found out, and one that only takes long is left alone."""

import socket
import subprocess
import sys
from time import monotonic

import pytest

from runners.ray.lookout import SLOW_S, Lookout

WAIT_LIMIT_S = 60


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_whoever_is_within_its_time_is_not_stuck_while_the_head_is_there(listening):
    lookout = Lookout(address(listening))
    lookout.allow(100.0)
    assert ["", ""] == [lookout.stuck_at(monotonic() + s) for s in (0, SLOW_S + 1)]


def test_whoever_is_over_its_time_is_stuck_although_the_head_is_there(listening):
    lookout = Lookout(address(listening))
    lookout.allow(40.0)
    assert "it has not answered for 41 s" == lookout.stuck_at(monotonic() + 41)


def test_once_a_call_is_slow_a_head_that_has_gone_is_noticed(listening):
    lookout = Lookout(address(listening))
    lookout.allow(100.0)
    listening.close()
    assert "" == lookout.stuck_at(monotonic())  # a quick turn asks nobody
    assert "nobody can be reached there: Connection refused" == lookout.stuck_at(monotonic() + SLOW_S + 1)


def test_a_port_that_no_machine_has_is_nobodys():
    assert Lookout("127.0.0.1:99999").unreached().startswith("nobody can be reached there: ")


def test_a_stuck_process_says_why_and_ends():
    """Although its main thread waits for ever."""
    code = (
        "from threading import Event; from runners.ray.lookout import Lookout; "
        "lookout = Lookout('127.0.0.1:1'); lookout.allow(0.0); lookout.watch(print); Event().wait()"
    )
    command = [sys.executable, "-u", "-c", code]
    told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=WAIT_LIMIT_S)
    assert (1, True) == (told.returncode, told.stdout.startswith("it has not answered for ")), told
