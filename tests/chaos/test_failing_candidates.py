"""Candidates that fail for real, under load: everybody is answered, by the arm and for the cause that they are told.

A few thousand requests in the ordinary suite; `make chaos` sends a hundred thousand.
"""

import json
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODELS, FAULTS = ROOT / "configs" / "models", ROOT / "examples" / "faults"
REQUESTS_N = int(os.environ.get("TURNOUT_CHAOS_REQUESTS", "3000"))
CONNECTIONS = 48
CAUSES = {
    "raises": {"error"},
    "hangs": {"timeout", "overload"},
    "nan": {"invalid_output"},
}  # overload: behind a hung run
PARTS = {"raises": 0.4, "hangs": 0.1, "nan": 0.5}  # of the requests; each that hangs costs its deadline


def write_routes(config: Path) -> None:
    (config / "routes").mkdir(parents=True)
    for fault in CAUSES:
        arms = {
            "linear": {"model": f"file:{MODELS / 'digits-linear.onnx'}", "role": "baseline"},
            "broken": {"model": f"file:{FAULTS / f'{fault}.onnx'}", "role": "candidate"},
            "prior": {"model": f"constant:{MODELS / 'digits-prior.json'}", "role": "reserve"},
        }
        document = {
            "turnout": "v1",
            "route": fault,
            "unit": {"header": "x-account-id"},
            "timeout": "500ms" if fault == "hangs" else "10s",
            "arms": arms,
            "fallback": ["linear", "prior"],
            "strategy": {"kind": "ab", "shares": {"broken": "50%"}},
        }
        (config / "routes" / f"{fault}.yaml").write_text(json.dumps(document))  # JSON is YAML


def exchanges():
    rows = json.loads((ROOT / "examples" / "digits" / "rows.json").read_text())
    for fault, part in PARTS.items():
        for number in range(int(REQUESTS_N * part)):
            tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": rows[number % 400]["pixels"]}
            yield fault, f"unit-{number}", json.dumps({"inputs": [tensor]}).encode()


def belongs_to_candidate(route: str, unit: str) -> bool:
    """The published rule, written again."""
    return int.from_bytes(sha256(f"{route}/0\x1f{unit}".encode()).digest()[:8]) < 2**63


async def test_everybody_is_answered_by_the_arm_and_cause_they_are_told(start_gateway, tmp_path, send_all):
    write_routes(tmp_path / "config")
    gateway = start_gateway(tmp_path / "config")
    told = await send_all(gateway.http, exchanges(), CONNECTIONS)
    assert gateway.stop() == 0

    failed = [event for event in gateway.events("request") if event["status"] != "ok"]
    assert failed == []
    assert Counter(answer.status for _, answer in told) == {200: len(told)}
    for (route, unit, _), answer in told:
        is_hit = belongs_to_candidate(route, unit)
        assert answer.arm in ({"linear", "prior"} if is_hit else {"linear"})  # the chain, whose end a stall may reach
        assert answer.fallback in (CAUSES[route] if is_hit else {""})

    wrote = Counter((e["request_id"], e["answered_arm"], e["fallback_cause"]) for e in gateway.events("request"))
    assert wrote == Counter((answer.request_id, answer.arm, answer.fallback) for _, answer in told)
