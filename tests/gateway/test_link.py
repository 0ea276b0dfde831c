"""The wire between the control process and a worker."""

import asyncio
import socket

import pytest

from gateway.increments import Bad, CellIncrement, CellKey, Counts, Increment
from gateway.link import (
    Ask,
    Counted,
    Discard,
    Ready,
    Start,
    Stop,
    Swap,
    Swapped,
    Taken,
    Told,
    Warm,
    Warmed,
    open_control_end,
    open_worker_end,
)
from observability.merge import Family, Sample

KEY = CellKey("digits@1", 0, '{"new":1000000}', 170_000_000, "new")
BAD = Bad("error_rate", -(2**63), "event-1", 1.7e9)
INCREMENT = Increment(3, 1, 2, 1, {"latency_p50": 1}, {}, {40: 2}, 0.1, 0.01, [2**63 - 1], [BAD])
COUNTS = Counts(170_000_001, {"digits@1": 1}, [CellIncrement(KEY, INCREMENT)], {"digits@1": [2]}, {"digits@1": ["x"]})
SNAPSHOT = [Family("n", "counter", "text", [Sample("n_total", {"arm": "a"}, 1.0)])]


@pytest.fixture
async def ends():
    """A control process's end and a worker's."""
    ours, theirs = socket.socketpair()
    control, worker = await open_control_end(ours), await open_worker_end(theirs)
    yield control, worker
    control.close()
    worker.close()


async def test_messages_arrive_whole_and_in_order(ends):
    control, worker = ends
    orders = [Start(b"\0" * 100_000, 1, 3, 4, 5), Ask(1), Warm(2, b"routes"), Swap(2), Discard(3), Taken(7), Stop()]
    for order in orders:
        control.send(order)
    reports = [Ready(1, ["digits"], {"bad": "missing"}), Told(1, SNAPSHOT), Warmed(2, {"arm": "no file"}), Swapped(2)]
    reports.append(Counted(7, COUNTS, is_last=True))
    for report in reports:
        worker.send(report)

    assert orders == [await worker.receive() for _ in orders]
    assert reports == [await control.receive() for _ in reports]


async def test_an_end_that_has_gone_is_told_as_nothing(ends):
    control, worker = ends
    control.send(Stop())
    control.close()

    assert [Stop(), None] == [await worker.receive(), await worker.receive()]


async def test_half_a_message_is_none():
    """Whoever is killed while it speaks has said nothing."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall((100).to_bytes(4) + b"\x81")
    control = await open_control_end(ours)
    assert await control.receive() is None
    control.close()


async def test_speaking_to_an_end_that_has_gone_harms_nobody(ends):
    control, worker = ends
    worker.close()
    await asyncio.sleep(0)
    for _ in range(3):
        control.send(Ask(1))
        await control.flush()
