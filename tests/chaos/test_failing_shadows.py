"""Shadows that fail for real, under load: clients notice nothing, and every shadow call is accounted for.

One route has shadows that raise, hang, answer nonsense and are slow, at 100 % each; another has one that returns 50 MB.
"""

import asyncio
import json
import re
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import onnx.parser
import pytest

ROOT = Path(__file__).parents[2]
MODELS, FAULTS = ROOT / "configs" / "models", ROOT / "examples" / "faults"
FLOOD_N, LARGE_N, CONNECTIONS = 600, 12, 32
LARGE = 50_000_000
SHADOWS = {"raises": "failed", "hangs": "failed", "nan": "failed", "wrong-shape": "failed", "slow": "match"}
LIMIT_S = 120  # for a crowded machine; a few seconds here
SAMPLE = re.compile(
    r'^turnout_shadow_(\w+?)(?:_total)?\{arm="([\w-]+)",(?:(?:outcome|reason)="(\w+)",)?route="(\w+)"\} (\S+)$',
    re.MULTILINE,
)
HEAD = '<ir_version: 9, opset_import: ["": 17]>\n'
# As many columns as four, and `more` for a request that is not blank: a warm-up does not set it off.
GRAPH = """m (uint8[N,1] x) => (uint8[N,M] y)
<int64[1] one = {1}, int64[1] four = {4}, int64[1] more = {MORE}> {
    highest = ReduceMax<keepdims = 0>(x)
    is_set = Cast<to = 9>(highest)
    switch = Cast<to = 7>(is_set)
    added = Mul(switch, more)
    columns = Add(four, added)
    shape = Concat<axis = 0>(one, columns)
    y = Expand(x, shape)
}"""
Accounts = dict[str, Counter[tuple[str, str]]]


def write_routes(config: Path) -> None:
    (config / "routes").mkdir(parents=True)
    arms = {name: {"model": f"file:{FAULTS / f'{name}.onnx'}", "role": "candidate"} for name in SHADOWS}
    _write_route(config, "failing", arms, f"file:{MODELS / 'digits-linear.onnx'}")
    for name, more in (("small", 0), ("large", LARGE)):
        model = onnx.parser.parse_model(HEAD + GRAPH.replace("MORE", str(more)))
        (config / f"{name}.onnx").write_bytes(model.SerializeToString())
    large = {"large": {"model": "file:large.onnx", "role": "candidate"}}
    _write_route(config, "large", large, "file:small.onnx")


def _write_route(config: Path, name: str, shadows: dict[str, object], baseline: str) -> None:
    document = {
        "turnout": "v1",
        "route": name,
        "arms": {"base": {"model": baseline, "role": "baseline"}} | shadows,
        "strategy": {"kind": "baseline"},
        "shadow": [{"candidate": candidate} for candidate in shadows],
    }
    (config / "routes" / f"{name}.yaml").write_text(json.dumps(document))


def digits(count: int):
    rows = json.loads((ROOT / "examples" / "digits" / "rows.json").read_text())
    for number in range(count):
        tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": rows[number % 20]["pixels"]}
        yield "failing", f"unit-{number}", json.dumps({"inputs": [tensor]}).encode()


def bytes_in(count: int):
    for number in range(count):
        tensor = {"name": "x", "datatype": "UINT8", "shape": [1, 1], "data": [number + 1]}
        yield "large", f"unit-{number}", json.dumps({"inputs": [tensor]}).encode()


def accounts(port: int) -> Accounts:
    """Shadow calls by (route, arm): due, pending, and each outcome and reason."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    found: Accounts = {}
    for family, arm, word, route, count in SAMPLE.findall(text):
        found.setdefault(word or family, Counter())[route, arm] = int(float(count))
    return found


async def settled(port: int) -> Accounts:
    async with asyncio.timeout(LIMIT_S):
        while (found := await asyncio.to_thread(accounts, port))["pending"].total():
            await asyncio.sleep(0.05)
    return found


@pytest.fixture
def gateway(start_gateway, tmp_path):
    write_routes(tmp_path / "config")
    return start_gateway(tmp_path / "config")


async def test_clients_get_the_baselines_answers_whatever_the_shadows_do(gateway, send_all):
    """A flood for shadows that raise, hang, lie and dawdle: the same bytes as from the baseline alone, every time."""
    told = await send_all(gateway.http, digits(FLOOD_N), CONNECTIONS)
    assert {(answer.status, answer.arm, answer.fallback) for _, answer in told} == {(200, "base", "")}
    by_request = {}
    for (_, _, body), answer in told:
        by_request.setdefault(body, set()).add(answer.outputs)
    assert {len(outputs) for outputs in by_request.values()} == {1}
    assert len({next(iter(outputs)) for outputs in by_request.values()}) == len(by_request)

    found = await settled(gateway.metrics)
    assert gateway.stop() == 0
    assert found["due"] == {("failing", name): FLOOD_N for name in SHADOWS}
    check_accounts(found, gateway.events("shadow"))


async def test_every_fault_is_told_by_its_outcome(gateway, send_all):
    """With time between requests each shadow is called, and what it does is what is written down."""
    async with asyncio.timeout(LIMIT_S):
        missing = dict(SHADOWS)
        while missing:
            await send_all(gateway.http, digits(1), 1)
            found = await settled(gateway.metrics)
            missing = {n: way for n, way in missing.items() if not found.get(way, Counter())["failing", n]}
    assert gateway.stop() == 0

    events = gateway.events("shadow")
    made = {(event["arm"], event["outcome"]) for event in events if event["outcome"] != "dropped"}
    assert made == set(SHADOWS.items())
    causes = {event["arm"]: event["call"]["cause"] for event in events if event["call"]}
    lies = {"nan": "invalid_output", "wrong-shape": "invalid_output"}
    assert causes == {"raises": "error", "hangs": "timeout", "slow": ""} | lies
    check_accounts(found, events)


async def test_fifty_megabytes_from_a_shadow_reach_nobody(gateway, send_all):
    told = await send_all(gateway.http, bytes_in(LARGE_N), 2)
    expected = [(n, 200, json.dumps([{"name": "y", "shape": [1, 4], "data": [n + 1] * 4}])) for n in range(LARGE_N)]
    assert sorted((int(e[1][5:]), answer.status, without_datatype(answer.outputs)) for e, answer in told) == expected

    found = await settled(gateway.metrics)
    assert gateway.stop() == 0
    assert found["due"]["large", "large"] == LARGE_N
    assert found["mismatch"]["large", "large"] > 0
    check_accounts(found, gateway.events("shadow"))


def without_datatype(outputs: str) -> str:
    return json.dumps([{key: each[key] for key in ("name", "shape", "data")} for each in json.loads(outputs)])


def check_accounts(found: Accounts, events: list[dict]) -> None:
    """Made and dropped add up to due; metrics and events tell the same, word by word."""
    wrote: Counter[tuple[str, str, str]] = Counter()
    for event in events:
        wrote[event["dropped"] or event["outcome"], event["route"], event["arm"]] += event["count"]
    ends = {word: counts for word, counts in found.items() if word not in ("due", "pending")}
    assert wrote == Counter({(word, *key): n for word, counts in ends.items() for key, n in counts.items()})
    assert found["due"] == sum(ends.values(), Counter())
