import json
from threading import Event, Thread
from threading import enumerate as enumerate_threads

import pytest

from observability.sinks.line import LineEncoder
from observability.sinks.log import EventLog, Pace

PROMPT = Pace(poll_s=0.001, breath_s=0.0, retry_s=0.001)
ASLEEP = Pace(poll_s=1000.0, breath_s=0.0, retry_s=1000.0)  # wakes for closing only
NOTHING_DROPPED = {"queue_full": 0, "closed": 0, "encode_failed": 0, "write_failed": 0}


class Memory:
    """Keeps lines; takes only as many per write as `takes` says, if it says so."""

    segments_deleted_n = 0

    def __init__(self, takes=()):
        self.takes = list(takes)
        self.lines = []
        self.writes_n = 0
        self.is_closed = False
        self.trouble = ""

    def write(self, lines):
        self.writes_n += 1
        given = lines.splitlines(keepends=True)
        kept = given[: self.takes.pop(0)] if self.takes else given
        self.trouble = "" if kept == given else "full"
        self.lines += kept
        return sum(map(len, kept))

    def close(self):
        self.is_closed = True

    def ids(self):
        return [json.loads(line)["event_id"] for line in self.lines]


class Stuck(Memory):
    """Hangs in its first write until it is let go."""

    def __init__(self):
        super().__init__()
        self.is_stuck, self.go_on = Event(), Event()

    def write(self, lines):
        self.is_stuck.set()
        assert self.go_on.wait(10)
        return super().write(lines)


@pytest.fixture
def encoder(identity, key):
    return LineEncoder(identity, key)


@pytest.fixture
def events(request_event):
    return lambda count: [request_event(event_id=f"e{n}") for n in range(count)]


def test_every_event_is_written_in_the_order_offered(encoder, events):
    """What happened can be read in the order in which it happened, to the last event before the stop."""
    memory = Memory()
    log = EventLog(memory, encoder, PROMPT)
    for event in events(1000):
        log.offer(event)
    assert log.close()
    assert [f"e{n}" for n in range(1000)] == memory.ids()
    assert (1000, 0, NOTHING_DROPPED) == (log.counts().written_n, log.counts().waiting_n, log.counts().dropped)


def test_events_are_written_while_the_gateway_runs(encoder, events, eventually):
    """Nobody has to stop the gateway to see what it did."""
    log = EventLog(Memory(), encoder, PROMPT)
    log.offer(events(1)[0])
    eventually(lambda: log.counts().written_n == 1)
    log.close()


def test_a_full_queue_drops_the_newest_and_counts_them(encoder, events):
    """Memory is bounded; the events that no longer fit are counted, and those that wait are kept."""
    memory = Memory()
    log = EventLog(memory, encoder, Pace(bound=10, poll_s=1000.0))
    for event in events(15):
        log.offer(event)
    assert (10, 5) == (log.counts().waiting_n, log.counts().dropped["queue_full"])
    log.close()
    assert [f"e{n}" for n in range(10)] == memory.ids()


def test_events_after_the_end_are_counted_as_closed(encoder, events):
    """A late request is missing from the log, but not from the count."""
    log = EventLog(Memory(), encoder, PROMPT)
    log.close()
    for event in events(3):
        log.offer(event)
    assert {**NOTHING_DROPPED, "closed": 3} == log.counts().dropped


def test_the_rows_a_failing_write_lost_are_counted_exactly(encoder, events):
    """`dropped` is the number of rows that are missing, no more and no fewer."""
    memory = Memory(takes=[10, 0, 64])
    log = EventLog(memory, encoder, PROMPT)
    for event in events(1000):
        log.offer(event)
    assert log.close()
    assert len(memory.lines) == log.counts().written_n
    assert 1000 == log.counts().written_n + log.counts().dropped["write_failed"]
    assert 54 <= log.counts().dropped["write_failed"] < 1000


def test_writing_resumes_by_itself(encoder, events, eventually):
    """When the disk has room again the log goes on, and says that it is well."""
    log = EventLog(Memory(takes=[0, 0, 0]), encoder, PROMPT)
    first, last = events(2)
    log.offer(first)
    eventually(lambda: log.counts().dropped["write_failed"] == 1)
    assert "full" == log.counts().trouble
    while log.counts().written_n == 0:
        log.offer(last)
        eventually(lambda: log.counts().waiting_n == 0)
    assert "" == log.counts().trouble
    log.close()


def test_a_failing_destination_is_tried_at_a_bounded_pace(encoder, events, eventually):
    """A full disk does not become a busy loop: one try, then a pause, and one more at the end."""
    memory = Memory(takes=[0] * 100)
    log = EventLog(memory, encoder, Pace(poll_s=0.001, breath_s=0.0, retry_s=1000.0))
    for event in events(1000):
        log.offer(event)
    eventually(lambda: memory.writes_n == 1)
    assert log.close()
    assert 2 == memory.writes_n
    assert {**NOTHING_DROPPED, "write_failed": 1000} == log.counts().dropped


def test_what_waits_while_writing_fails_is_kept(encoder, events, eventually):
    """A short trouble costs one chunk of rows, not all that came in meanwhile."""
    memory = Memory(takes=[0])
    log = EventLog(memory, encoder, Pace(poll_s=0.001, breath_s=0.0, retry_s=1000.0))
    for event in events(200):
        log.offer(event)
    eventually(lambda: memory.writes_n == 1)
    log.close()
    assert 64 >= log.counts().dropped["write_failed"] > 0
    assert 200 == log.counts().written_n + log.counts().dropped["write_failed"]


def test_an_event_that_cannot_be_encoded_costs_no_other(encoder, events, request_event):
    """One broken record is counted and left out."""
    memory = Memory()
    log = EventLog(memory, encoder, ASLEEP)
    first, last = events(2)
    for event in (first, request_event(attributes={"country": object()}), last):
        log.offer(event)
    log.close()
    assert ["e0", "e1"] == memory.ids()
    assert {**NOTHING_DROPPED, "encode_failed": 1} == log.counts().dropped


def test_a_destination_that_hangs_delays_only_the_close_and_that_by_a_bound(encoder, events, request_event, eventually):
    """A dead network disk cannot keep the gateway from stopping; what was lost by that is counted."""
    stuck = Stuck()
    log = EventLog(stuck, encoder, PROMPT)
    log.offer(request_event(attributes={"country": object()}))
    for event in events(199):
        log.offer(event)
    assert stuck.is_stuck.wait(10)
    assert not log.close(timeout_s=0.01)
    expected = {**NOTHING_DROPPED, "closed": 199, "encode_failed": 1}
    assert (0, 0, expected) == (log.counts().written_n, log.counts().waiting_n, log.counts().dropped)
    stuck.go_on.set()
    eventually(lambda: not log._writer.is_alive())
    assert 200 == log.counts().written_n + sum(log.counts().dropped.values())


def test_no_event_is_lost_uncounted_when_closing_races_with_offering(encoder, events):
    """Offered is written plus dropped, whoever offers while the log closes."""
    log = EventLog(Memory(), encoder, Pace(bound=500, poll_s=0.001))
    offering = [Thread(target=lambda: [log.offer(event) for event in events(2000)]) for _ in range(4)]
    for thread in offering:
        thread.start()
    assert log.close()
    for thread in offering:
        thread.join()
    assert 8000 == log.counts().written_n + sum(log.counts().dropped.values())


def test_one_thread_writes_and_ends_with_the_log(encoder):
    """The log takes one background thread and gives it back."""
    before = set(enumerate_threads())
    memory = Memory()
    log = EventLog(memory, encoder)
    assert 1 == len(set(enumerate_threads()) - before)
    log.close()
    assert (set(), True) == (set(enumerate_threads()) - before, memory.is_closed)


def test_closing_twice_is_harmless(encoder, events):
    """Whoever stops the gateway need not know whether somebody else already did."""
    log = EventLog(Memory(), encoder, PROMPT)
    log.offer(events(1)[0])
    assert (True, True) == (log.close(), log.close())
    assert 1 == log.counts().written_n
