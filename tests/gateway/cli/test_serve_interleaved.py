"""Interleaving as an operator meets it: the real command, real models, both protocols."""

import json
import subprocess
import sys
import urllib.request

import grpc
import onnx.parser
import pytest

from runners.oip import messages
from strategies.interleaving.coins import HashedCoins
from strategies.interleaving.team_draft import team_draft

HEAD = '<ir_version: 9, opset_import: ["": 17]>\n'
# Scores of whatever items are given: one likes small ids, the other large ones, and takes as many passes as it is told.
OLD = HEAD + "m (int64[N,4] item, int64[1] passes) => (float[N,4] score) { f = Cast<to: int = 1>(item) score = Neg(f) }"
NEW = (
    HEAD
    + """m (int64[N,4] item, int64[1] passes) => (float[N,4] score) {
    f = Cast<to: int = 1>(item)
    yes = Constant<value: tensor = bool {1}>()
    none = Constant<value_int: int = 0>()
    sum = Loop(passes, yes, none) <body = b (int64 i, bool go, int64 a) => (bool on, int64 c) {
        on = Identity(go)
        c = Add(a, i)
    }>
    g = Cast<to: int = 1>(sum)
    nought = Constant<value_float: float = 0.0>()
    h = Mul(g, nought)
    score = Add(f, h)
}"""
)
ENDLESS = 2**62
SCORED = {"kind": "interleave", "partners": ["new"], "items": "item", "scores": "score", "k": 3}


@pytest.fixture
def write(tmp_path):
    """A configuration with both rankers and a route for each strategy."""
    for name, text in (("old", OLD), ("new", NEW)):
        (tmp_path / f"{name}.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    (tmp_path / "routes").mkdir()

    def written(timeout: str = "1m", **strategies):
        arms = {
            "old": {"model": "file:old.onnx", "role": "baseline"},
            "new": {"model": "file:new.onnx", "role": "candidate"},
        }
        for name, strategy in strategies.items():
            route = {"turnout": "v1", "route": name, "timeout": timeout, "arms": arms, "strategy": strategy}
            (tmp_path / "routes" / f"{name}.yaml").write_text(json.dumps(route))
        return tmp_path

    return written


def ask(gateway, route: str, *rows: list[int], passes: int = 0) -> dict:
    flat = [item for row in rows for item in row]
    body = {
        "inputs": [
            {"name": "item", "datatype": "INT64", "shape": [len(rows), 4], "data": flat},
            {"name": "passes", "datatype": "INT64", "shape": [1], "data": [passes]},
        ]
    }
    return fetch(gateway, f"{route}/infer", json.dumps(body).encode())


def fetch(gateway, path: str, body: bytes | None = None) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.http}/v2/models/{path}", body, 90) as answer:
        return json.load(answer)


def ask_grpc(gateway, method: str, request, answer):
    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc}") as channel:
        call = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return call(request, timeout=90)


def run_turnout(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gateway", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def by_score(items: list[int], scores: list[float]) -> list[str]:
    return [str(item) for _, item in sorted(zip(scores, items, strict=True), reverse=True)]


def test_two_rankers_answer_in_one_list_over_both_protocols(start_gateway, write):
    """What is served can be dealt again from the event, row by row, and says that it is of both."""
    gateway = start_gateway(write(shop=SCORED))
    rows = [[4, 7, 1, 9], [2, 3, 8, 5]]
    answer = ask(gateway, "shop", *rows)
    request = messages.ModelInferRequest(model_name="shop")
    for name, shape, numbers in (("item", [2, 4], [*rows[0], *rows[1]]), ("passes", [1], [0])):
        tensor = request.inputs.add(name=name, datatype="INT64", shape=shape)
        tensor.contents.int64_contents.extend(numbers)
    over_grpc = ask_grpc(gateway, "ModelInfer", request, messages.ModelInferResponse)
    assert gateway.stop() == 0

    parameters = answer["parameters"]
    assert (parameters["turnout_arm"], parameters["turnout_interleaved"]) == ("old", "old+new")
    assert over_grpc.parameters["turnout_interleaved"].string_param == "old+new"
    assert parameters["turnout_token"]
    assert over_grpc.parameters["turnout_token"].string_param
    events = gateway.events("request")
    assert [(event["not_interleaved"], event["interleaving"]["rankers"]) for event in events] == [
        ("", ["old", "new"])
    ] * 2
    for event in events:
        for shown in event["interleaving"]["rows"]:
            coins = HashedCoins(event["interleaving"]["salt"], event["event_id"], shown["row"])
            merged = team_draft([tuple(each) for each in shown["lists"]], 3, coins)
            teams = [["old", "new"][share.index(1)] if share else "" for share in merged.shares]
            assert (shown["items"], shown["teams"]) == (list(merged.items), teams)
            items = rows[shown["row"]]
            assert shown["lists"] == [list(map(str, sorted(items)))[:3], list(map(str, sorted(items)[::-1]))[:3]]
    scores = answer["outputs"][0]["data"]
    for at, shown in enumerate(events[0]["interleaving"]["rows"]):
        own = scores[4 * at : 4 * at + 4]
        assert by_score(rows[at], own)[:3] == shown["items"]
        assert sorted(own) == sorted(-float(item) for item in rows[at])


def test_a_ranker_that_is_late_one_time_in_ten_costs_nothing_but_its_votes(start_gateway, write):
    """Everybody is answered in time, and those who met the slow ranker got the baseline's list, for a reason."""
    gateway = start_gateway(write(timeout="4s", shop=SCORED))
    answers = [ask(gateway, "shop", [4, 7, 1, 9], passes=ENDLESS if n % 10 == 4 else 0) for n in range(20)]
    assert gateway.stop() == 0

    for n, answer in enumerate(answers):
        if n % 10 == 4:
            assert answer["outputs"][0]["data"] == [-4.0, -7.0, -1.0, -9.0]
            assert answer["parameters"]["turnout_not_interleaved"] == "timeout"
            assert "turnout_token" not in answer["parameters"]
        else:
            assert answer["parameters"]["turnout_interleaved"] == "old+new"
    events = gateway.events("request")
    assert [event["not_interleaved"] for event in events] == ["timeout" if n % 10 == 4 else "" for n in range(20)]
    assert all(event["duration_ms"] < event["deadline_ms"] for event in events)


def test_both_answers_come_side_by_side_and_metadata_lists_them(start_gateway, write):
    both = {"kind": "interleave", "partners": ["new"], "mode": "both"}
    gateway = start_gateway(write(named=both, blind=both | {"slots": "blind"}))
    named, blind = (ask(gateway, route, [4, 7, 1, 9]) for route in ("named", "blind"))
    known = {route: fetch(gateway, route) for route in ("named", "blind")}
    over_grpc = ask_grpc(
        gateway, "ModelMetadata", messages.ModelMetadataRequest(name="blind"), messages.ModelMetadataResponse
    )
    assert gateway.stop() == 0

    given = {output["name"]: output["data"] for output in named["outputs"]}
    old, new = [-4.0, -7.0, -1.0, -9.0], [4.0, 7.0, 1.0, 9.0]
    assert given == {"score": old, "score__new": new}
    given = {output["name"]: output["data"] for output in blind["outputs"]}
    (row,) = gateway.events("request")[1]["interleaving"]["rows"]
    assert {"old": old, "new": new}[row["teams"][0]] == given["score__1"]
    assert {"old": old, "new": new}[row["teams"][1]] == given["score__2"]
    for route, answer in (("named", named), ("blind", blind)):
        outputs = [(output["name"], output["datatype"], output["shape"]) for output in known[route]["outputs"]]
        assert outputs == [(output["name"], "FP32", [-1, 4]) for output in answer["outputs"]]
    assert [output.name for output in over_grpc.outputs] == [output["name"] for output in known["blind"]["outputs"]]


def test_a_word_that_names_no_output_is_refused_before_anything_is_served(write):
    done = run_turnout("validate", write(shop=SCORED | {"scores": "scores"}))

    assert done.returncode == 2
    assert "the baseline has no output 'scores'" in done.stderr
    assert "its outputs are score" in done.stderr


def test_validate_says_who_answers_together(write):
    done = run_turnout("validate", write(shop=SCORED | {"share": "20%"}))

    assert done.returncode == 0
    assert (
        "  together  old+new for 20% of units: orders of item by score, the first 3 places by team draft" in done.stdout
    )
    assert "  calls     1.2 for a request that needs no fallback" in done.stdout
