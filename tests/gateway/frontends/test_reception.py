"""What is noted of a request at the door."""

from time import monotonic, time

import pytest

from gateway.errors import Malformed
from gateway.frontends.reception import UNREADABLE, Reception, refuse_timeout
from observability.tracing import Tracing

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def reception() -> Reception:
    return Reception(Tracing())


def test_every_arrival_has_an_id_of_its_own(reception) -> None:
    """Two requests with the same id of the caller's are still told apart."""
    ids = {reception.arrive("http", {b"x-request-id": b"same"}, "").event_id for _ in range(1000)}
    assert 1000 == len(ids)


def test_an_arrival_is_timed_on_both_clocks(reception) -> None:
    """An event's time can be read by people, its durations survive a clock that jumps."""
    before = time(), monotonic()
    arrival = reception.arrive("http", {}, "10.0.0.1")
    assert before[0] <= arrival.at <= time()
    assert before[1] <= arrival.started_at <= monotonic()


def test_trace_context_is_taken_over(reception) -> None:
    """A caller's trace goes on through the gateway."""
    arrival = reception.arrive("grpc", {b"traceparent": PARENT}, "")
    assert "0af7651916cd43dd8448eb211c80319c" == arrival.trace.trace_id


def test_trace_context_that_is_garbage_is_no_error(reception) -> None:
    """A broken tracing header upstream cannot fail an inference."""
    assert reception.arrive("http", {b"traceparent": b"\xff\x00 garbage"}, "").trace is None


@pytest.mark.parametrize(
    ("transport_s", "header", "expected"),
    [(0.0, None, 0.0), (0.0, b"250", 0.25), (2.0, None, 2.0), (2.0, b"250", 0.25), (0.1, b"250", 0.1)],
)
def test_the_earlier_timeout_counts(reception, transport_s, header, expected) -> None:
    """A deadline is never later than any the caller gave."""
    metadata = {} if header is None else {b"x-request-timeout-ms": header}
    assert expected == reception.arrive("grpc", metadata, "", transport_s).timeout_s


@pytest.mark.parametrize("junk", [b"", b"soon", b"0", b"-5", b"nan", b"inf", b"1e999", b"\xff", b"5 ms"])
def test_a_timeout_that_is_no_number_is_noted_as_such(reception, junk) -> None:
    """A timeout that cannot be read is refused later, and not ignored."""
    assert UNREADABLE == reception.arrive("http", {b"x-request-timeout-ms": junk}, "").timeout_s


def test_an_unreadable_timeout_is_refused_by_name() -> None:
    """The refusal names the header."""
    with pytest.raises(Malformed, match="x-request-timeout-ms"):
        refuse_timeout()
