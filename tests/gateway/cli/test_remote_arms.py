"""Turnout in front of Turnout: models on another server under every strategy, by the real command on both sides."""

import http.client
import json
import threading
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "configs" / "models"
LINEAR, NETWORK = MODELS / "digits-linear.onnx", MODELS / "digits-mlp.onnx"
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()
STRATEGIES = {
    "baseline": {"strategy": {"kind": "baseline"}},
    "ab": {"strategy": {"kind": "ab", "shares": {"network": "50%"}}},
    "canary": {"strategy": {"kind": "canary", "candidate": "network", "ramp": [{"share": "50%"}]}},
    "shadow": {"strategy": {"kind": "baseline"}, "shadow": [{"candidate": "network", "share": "100%"}]},
}


def ask(port: int, route: str, **headers: str) -> tuple[int, dict, dict]:
    """Status, headers and JSON of one inference."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", f"/v2/models/{route}/infer", BODY, named)
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response.status, dict(response.headers), content


def metrics(server) -> str:
    with urlopen(f"http://127.0.0.1:{server.metrics}/metrics") as response:
        return response.read().decode()


def write_routes(config: Path, routes: dict[str, dict]) -> Path:
    (config / "routes").mkdir(parents=True)
    for name, document in routes.items():
        text = json.dumps({"turnout": "v1", "route": name, "timeout": "10s"} | document)
        (config / "routes" / f"{name}.yaml").write_text(text)
    return config


def held_here(file: Path, role: str) -> dict:
    return {"model": f"file:{file}", "role": role}


def elsewhere(model: str, role: str, server, scheme: str) -> dict:
    return {"model": f"remote:{model}", "role": role, "url": f"{scheme}://127.0.0.1:{getattr(server, scheme)}"}


def until(claim) -> None:
    give_up_at = monotonic() + 30
    while not claim():
        assert monotonic() < give_up_at
        sleep(0.01)


@pytest.fixture
def behind(start_gateway, tmp_path):
    """The other server, with both models."""
    models = {"linear": LINEAR, "network": NETWORK}
    routes = {
        name: {"arms": {name: held_here(file, "baseline")}, "strategy": {"kind": "baseline"}}
        for name, file in models.items()
    }
    return start_gateway(write_routes(tmp_path / "behind", routes))


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_every_strategy_runs_over_models_that_are_elsewhere(start_gateway, behind, tmp_path, scheme):
    """A canary needs nobody to move a model: the same units, the same answers, and evidence per arm."""
    arms = {
        "linear": elsewhere("linear", "baseline", behind, scheme),
        "network": elsewhere("network", "candidate", behind, scheme),
        "last": held_here(LINEAR, "reserve"),
    }
    routes = {name: {"arms": arms, "fallback": ["linear", "last"]} | how for name, how in STRATEGIES.items()}
    front = start_gateway(write_routes(tmp_path / "front", routes))
    right = {name: ask(behind.http, name)[2]["outputs"] for name in ("linear", "network")}

    told = {route: Counter() for route in STRATEGIES}
    for route in STRATEGIES:
        for number in range(20):
            status, headers, answer = ask(front.http, route, x_turnout_unit=f"u{number}")
            arm = headers["x-turnout-arm"]
            assert (200, right[arm], None) == (status, answer["outputs"], headers.get("x-turnout-fallback"))
            told[route][arm] += 1
    until(lambda: 'turnout_shadow_pending{arm="network",route="shadow"} 0.0' in metrics(front))  # they begin one by one
    assert front.stop() == 0

    assert [{"linear"}, {"linear", "network"}, {"linear", "network"}, {"linear"}] == [
        set(arms) for arms in told.values()
    ]
    shadows = front.events("shadow")
    assert {("network", 20)} == set(Counter(event["arm"] for event in shadows).items())
    assert {"match", "mismatch"} >= {event["outcome"] for event in shadows}
    assert {"ok"} == {call["status"] for event in front.events("request") for call in event["calls"]}


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_request_keeps_its_id_and_its_trace(start_gateway, behind, tmp_path, scheme):
    """Whoever looks for one request finds it on both servers."""
    arms = {"linear": elsewhere("linear", "baseline", behind, scheme), "last": held_here(LINEAR, "reserve")}
    route = {"arms": arms, "fallback": ["linear", "last"], "strategy": {"kind": "baseline"}}
    front = start_gateway(write_routes(tmp_path / "front", {"digits": route}))
    ask(front.http, "digits", x_request_id="r-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    assert (0, 0) == (front.stop(), behind.stop())

    seen = [(event["request_id"], event["trace_id"]) for event in (*front.events("request"), *behind.events("request"))]
    assert [("r-1", "a" * 32)] * 2 == seen


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_everybody_is_answered_while_the_other_server_is_killed(start_gateway, free_port, tmp_path, scheme):
    """The arms held here step in, for a cause that operators can count; and it ends when the server is back."""
    behind = start_gateway(LINEAR, "--port", free_port)
    arms = {
        "there": elsewhere("digits-linear", "candidate", behind, scheme),
        "here": held_here(LINEAR, "baseline"),
    }
    route = {"arms": arms, "strategy": {"kind": "ab", "shares": {"there": "100%"}}}
    front = start_gateway(write_routes(tmp_path / "front", {"digits": route}))
    told: list[tuple[int, str, str]] = []
    is_over = threading.Event()

    def load() -> None:
        while not is_over.is_set():
            status, headers, _ = ask(front.http, "digits")
            told.append((status, headers["x-turnout-arm"], headers.get("x-turnout-fallback", "")))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(told) > 100)
    behind.kill()
    until(lambda: ("here", "not_ready") in {each[1:] for each in told})
    killed_n = len(told)
    start_gateway(LINEAR, "--port", free_port)
    until(lambda: ("there", "") in {each[1:] for each in told[killed_n:]})
    is_over.set()
    for thread in threads:
        thread.join()

    assert {(200, "there", ""), (200, "here", "not_ready")} == set(told)


def test_an_arm_that_could_not_step_in_is_refused(start_gateway, behind, tmp_path):
    """A server whose model takes something else is found out at the start, and its units are answered all the same."""
    arms = {"prior": {"model": f"constant:{tmp_path / 'other.json'}", "role": "baseline"}}
    arms["there"] = elsewhere("linear", "candidate", behind, "grpc")
    spec = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    row = [{"name": "y", "datatype": "FP32", "shape": [-1, 1], "data": [0.5]}]
    (tmp_path / "other.json").write_text(json.dumps({"inputs": spec, "outputs": row}))
    route = {"arms": arms, "strategy": {"kind": "ab", "shares": {"there": "100%"}}}
    front = start_gateway(write_routes(tmp_path / "front", {"digits": route}))

    assert "arm_refused: route digits, arm there" in front.log()
