"""Evidence from the wire to the ledger, as the real command counts it."""

import contextlib
import http.client
import json
from pathlib import Path
from time import time

import pytest

from gateway.state.bookings import Bookings
from gateway.state.closing import Reporter
from gateway.state.ledger import Ledger
from gateway.state.shelf import Shelf

ROOT = Path(__file__).parents[3]
MODELS, FAULTS = ROOT / "configs" / "models", ROOT / "examples" / "faults"
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()


def write_route(config: Path, candidate: str, **changes: object) -> Path:
    arms = {
        "linear": {"model": f"file:{MODELS / 'digits-linear.onnx'}", "role": "baseline"},
        "broken": {"model": f"file:{FAULTS / f'{candidate}.onnx'}", "role": "candidate"},
    }
    document = {
        "turnout": "v1",
        "route": "digits",
        "unit": {"header": "x-account-id"},
        "arms": arms,
        "fallback": ["linear"],
        "strategy": {"kind": "canary", "candidate": "broken", "ramp": [{"share": "50%"}]},
    }
    (config / "routes").mkdir(parents=True)
    (config / "routes" / "digits.yaml").write_text(json.dumps(document | changes))
    return config


def ask(port: int, account: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/v2/models/digits/infer", BODY, {"x-account-id": account})
        response = connection.getresponse()
        response.read()
        return response.status


@contextlib.contextmanager
def ledger_of(state: Path):
    """The ledger of a gateway that has ended, with everything closed by one who comes much later."""
    shelf = Shelf(state)
    later = time() + 3600
    Bookings(shelf.engine()).book([], Reporter("later", int(later) // 10, {}, later), {})
    yield Ledger(shelf.engine())
    shelf.close()


def test_two_gateways_with_one_state_count_as_one(gateway_process, tmp_path):
    """An account that meets both has one error, and the sums are those of all requests."""
    config, state = write_route(tmp_path / "config", "raises-always"), tmp_path / "state"
    gateways = []
    try:
        for _ in range(2):
            gateways.append(gateway_process([str(config)], state, {}))
        assert {200} == {ask(gateway.http, f"account-{n}") for gateway in gateways for n in range(50)}
        assert [0, 0] == [gateway.stop() for gateway in gateways]
    finally:
        for gateway in gateways:
            gateway.kill()
    with ledger_of(state) as ledger:
        epochs = ledger.epochs("digits@1")
    counts = [epoch.arms[arm] for epoch in epochs for arm in epoch.arms]
    broken_n = sum(epoch.arms["broken"].units_n for epoch in epochs if "broken" in epoch.arms)
    assert (100, 50) == (sum(each.requests_n for each in counts), sum(each.units_n for each in counts))
    assert broken_n == sum(each.events.get("error_rate", 0) for each in counts)
    assert [()] == list({epoch.lost for epoch in epochs})


@pytest.mark.parametrize(("candidate", "metric"), [("raises-always", "error_rate"), ("nan", "invalid_output")])
def test_what_a_candidate_does_is_in_the_ledger_when_the_gateway_has_ended(start_gateway, tmp_path, candidate, metric):
    """Two workers, a hundred accounts, each asked twice: nothing is missing and nobody is counted twice."""
    gateway = start_gateway(write_route(tmp_path / "config", candidate), "--workers", "2")
    assert {200} == {ask(gateway.http, f"account-{n % 100}") for n in range(200)}
    assert 0 == gateway.stop()
    with ledger_of(gateway.state) as ledger:
        epochs = ledger.epochs("digits@1")
        offences = ledger.offending("digits@1", "broken", metric, limit_n=1000)
    broken, linear = ([epoch.arms.get(arm) for epoch in epochs] for arm in ("broken", "linear"))
    asked = [sum(counts.requests_n for counts in of if counts) for of in (broken, linear)]
    units = [sum(counts.units_n for counts in of if counts) for of in (broken, linear)]
    bad_n = sum(counts.events.get(metric, 0) for counts in broken if counts)
    assert (200, 100, asked) == (sum(asked), sum(units), [2 * n for n in units])
    assert bad_n == len(offences) == {"error_rate": units[0], "invalid_output": asked[0]}[metric]
    assert {(0, 500_000, ())} == {(epoch.step, epoch.shares_ppm["broken"], epoch.lost) for epoch in epochs}
    ids = {event["event_id"] for event in gateway.events("request") if event["assigned_arm"] == "broken"}
    assert ids >= {offence.event_id for offence in offences}
