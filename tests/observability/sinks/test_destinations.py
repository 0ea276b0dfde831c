"""What every destination of the event log must keep to, whatever it writes to."""

import pytest

from observability.sinks.file import SegmentFiles
from observability.sinks.line import LineEncoder
from observability.sinks.log import EventLog
from observability.sinks.stdout import StandardOutput

LINES = b'{"n":1}\n{"n":2}\n{"n":3}\n'


class FakeDestination:
    segments_deleted_n = 0
    trouble = ""

    def __init__(self):
        self.kept = b""

    def write(self, lines):
        self.kept += lines
        return len(lines)

    def close(self):
        pass


@pytest.fixture(params=["file", "stdout", "fake"])
def destination(request, tmp_path):
    """A destination, and a function that says what it holds."""
    match request.param:
        case "file":
            files = SegmentFiles(tmp_path, "gate-1")
            yield files, lambda: b"".join(path.read_bytes() for path in sorted(files.directory.iterdir()))
            files.close()
        case "stdout":
            with (tmp_path / "out").open("wb", buffering=0) as out:
                yield StandardOutput(out.fileno()), (tmp_path / "out").read_bytes
        case _:
            fake = FakeDestination()
            yield fake, lambda: fake.kept


def test_what_was_kept_can_be_read_at_once(destination):
    """A record is there for readers as soon as it counts as written; nothing waits in a buffer."""
    kept, read = destination
    assert len(LINES) == kept.write(LINES)
    assert LINES == read()


def test_writes_follow_each_other(destination):
    """Order is kept between writes, and a healthy destination reports no trouble and no deletion."""
    kept, read = destination
    kept.write(LINES[:8])
    kept.write(LINES[8:])
    assert (LINES, "", 0) == (read(), kept.trouble, kept.segments_deleted_n)


def test_an_event_log_writes_to_it(destination, identity, key, request_event):
    """What is offered is there after the close, one record a line."""
    kept, read = destination
    encoder = LineEncoder(identity, key)
    log = EventLog(kept, encoder)
    events = [request_event(request_id=f"r{n}\n") for n in range(100)]
    for event in events:
        log.offer(event)
    log.close()
    assert b"".join(encoder.line(event) for event in events) == read()
