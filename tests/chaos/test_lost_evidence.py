"""Workers and whole gateways that are killed while they count: what is missing is little, and known."""

import asyncio
import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic, time

from gateway.increments import Counts
from gateway.state.bookings import Booking, Bookings
from gateway.state.closing import Reporter
from gateway.state.database import FILE
from gateway.state.shelf import Shelf
from tests.chaos.marks import only_in_chaos

ROOT = Path(__file__).parents[2]
MODELS, FAULTS = ROOT / "configs" / "models", ROOT / "examples" / "faults"
LIMIT_S = 60
pytestmark = only_in_chaos
REQUESTS_N = int(os.environ.get("TURNOUT_CHAOS_REQUESTS", "3000"))


def write_route(config: Path) -> Path:
    arms = {
        "linear": {"model": f"file:{MODELS / 'digits-linear.onnx'}", "role": "baseline"},
        "broken": {"model": f"file:{FAULTS / 'raises.onnx'}", "role": "candidate"},
    }
    document = {
        "turnout": "v1",
        "route": "digits",
        "unit": {"header": "x-account-id"},
        "arms": arms,
        "fallback": ["linear"],
        "strategy": {"kind": "ab", "shares": {"broken": "50%"}},
    }
    (config / "routes").mkdir(parents=True)
    (config / "routes" / "digits.yaml").write_text(json.dumps(document))
    return config


def exchanges(first: int, count: int):
    rows = json.loads((ROOT / "examples" / "digits" / "rows.json").read_text())
    for number in range(first, first + count):
        tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": rows[number % 400]["pixels"]}
        yield "digits", f"unit-{number}", json.dumps({"inputs": [tensor]}).encode()


def stored_n(state: Path) -> int:
    """Requests that are in the ledger, closed or not."""
    with closing(sqlite3.connect(state / FILE)) as connection:
        return sum(json.loads(text).get("requests_n", 0) for (text,) in connection.execute("SELECT counts FROM tally"))


async def until(holds, what: str) -> None:
    ends_at = monotonic() + LIMIT_S
    while not holds():
        assert monotonic() < ends_at, what
        await asyncio.sleep(0.05)


def epochs_of(state: Path):
    """All epochs, closed by one who comes an hour later."""
    shelf = Shelf(state)
    later = time() + 3600
    Bookings(shelf.engine()).book([Booking("later", 1, Counts(0))], Reporter("later", int(later) // 10, {}, later), {})
    found = shelf.ledger().epochs("digits@1")
    shelf.close()
    return found


async def test_a_killed_worker_takes_at_most_a_second_along_and_the_ledger_knows(start_gateway, tmp_path, send_all):
    """Half of the gateway dies. Everything told before is there, and the epoch says that something is not."""
    gateway = start_gateway(write_route(tmp_path / "config"), "--workers", "2")
    await send_all(gateway.http, exchanges(0, REQUESTS_N), 16)
    await until(lambda: REQUESTS_N == stored_n(gateway.state), "not everything was told")
    os.kill(gateway.workers()[0], signal.SIGKILL)
    await until(lambda: "worker_replaced" in gateway.log(), "nobody took its place")
    await send_all(gateway.http, exchanges(REQUESTS_N, REQUESTS_N), 16)
    assert 0 == gateway.stop()
    epochs = epochs_of(gateway.state)
    counted_n = sum(counts.requests_n for epoch in epochs for counts in epoch.arms.values())
    assert 2 * REQUESTS_N == counted_n  # nobody was asked anything between the telling and the death
    assert ["ended before it had told all" in why for epoch in epochs for why in epoch.lost] == [True]


async def test_a_gateway_that_is_killed_and_started_again_goes_on_where_it_was(
    start_gateway, start_again, tmp_path, send_all
):
    """Power is cut. The same epochs are there as before, the experiment goes on, and a mark says what is missing."""
    config = write_route(tmp_path / "config")
    gateway = start_gateway(config)
    await send_all(gateway.http, exchanges(0, 500), 16)
    await until(lambda: 500 == stored_n(gateway.state), "not everything was told")
    gateway.kill()
    again = start_again(gateway, config, "--port", str(gateway.http))
    await send_all(again.http, exchanges(500, 500), 16)
    assert 0 == again.stop()
    epochs = epochs_of(again.state)
    assert 1000 == sum(counts.requests_n for epoch in epochs for counts in epoch.arms.values())
    assert ["gone without a word" in why for epoch in epochs for why in epoch.lost] == [True]
