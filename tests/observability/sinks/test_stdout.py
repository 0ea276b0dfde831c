import os
import subprocess
import sys
import textwrap
from pathlib import Path
from threading import Thread

from observability.sinks.stdout import StandardOutput

LINES = b"".join(b'{"n":%6d}\n' % n for n in range(20_000))  # 260,000 bytes: more than a pipe holds


def test_lines_come_out_whole_and_in_order():
    """A collector that reads the process's output gets every record."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as writer:
        assert 39 == StandardOutput(writer.fileno()).write(LINES[:39])
        assert LINES[:39] == os.read(reader.fileno(), 100)


def test_the_process_prints_to_its_own_output():
    """`--events -` goes where the container's log goes."""
    script = """
        from observability.sinks.stdout import StandardOutput
        output = StandardOutput()
        output.write(b'{"n":1}\\n')
        output.close()
        print("still open")
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, check=True)
    assert b'{"n":1}\nstill open\n' == ran.stdout


def test_a_slow_reader_of_a_non_blocking_pipe_gets_everything():
    """No record is torn because somebody else made the descriptor non-blocking."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    received = bytearray()
    with os.fdopen(read_end, "rb") as reader:
        reading = Thread(target=lambda: received.extend(reader.read()))
        with os.fdopen(write_end, "wb") as writer:
            reading.start()
            assert len(LINES) == StandardOutput(writer.fileno()).write(LINES)
        reading.join()
    assert LINES == bytes(received)


def test_a_reader_that_has_gone_is_a_loss_and_no_crash():
    """The rows nobody can read any more are told as not kept, with the reason."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as writer:
        output = StandardOutput(writer.fileno())
        assert (0, "Broken pipe") == (output.write(LINES), output.trouble)


def test_a_device_without_room_is_a_loss():
    """A redirected output on a full disk loses rows and says so."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        output = StandardOutput(full.fileno())
        assert (0, "No space left on device") == (output.write(LINES), output.trouble)
