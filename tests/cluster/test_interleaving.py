"""Rankers on Ray: two lists from two replicas, in one answer."""

import json

import onnxruntime as ort
import pytest

from tests.cluster.conftest import RANKERS, ROOT
from tests.gateway.cli.test_serve import ask

REQUESTS_N = 20
K = 10


@pytest.fixture(scope="module")
def lists():
    """What each ranker finds for an image, here."""
    pixels = [[float(number % 17) for number in range(64)]]
    return pixels, [
        ort.InferenceSession(ROOT / f"examples/search/{name}.onnx").run(["ids"], {"pixels": pixels})[0][0].tolist()
        for name in RANKERS
    ]


def is_draft(merged: list[int], one: list[int], other: list[int]) -> bool:
    """Whether every beginning of the list is made of beginnings of the two."""
    return all(
        any(set(merged[:n]) == set(one[:i]) | set(other[:j]) for i in range(n + 1) for j in range(n + 1))
        for n in range(1, len(merged) + 1)
    )


def test_lists_of_two_replicas_are_merged_and_can_be_credited(gateway, lists, wait_until):
    """Like any two rankers: the first ten places are a draft of both lists, and a token comes with them."""
    pixels, (profile, learned) = lists
    data = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": pixels}]}

    def answer() -> dict:
        status, _, told = ask(gateway.http, "/v2/models/ranked/infer", json.dumps(data).encode())
        assert status == 200, told
        return told

    wait_until(lambda: "turnout_token" in answer()["parameters"])  # replicas come after the gateway
    seen = set()
    for _ in range(REQUESTS_N):
        told = answer()
        (ids,) = [output["data"][:K] for output in told["outputs"] if output["name"] == "ids"]
        assert "turnout_token" in told["parameters"], told["parameters"]
        assert is_draft(ids, profile, learned), (ids, profile[:K], learned[:K])
        seen.add(tuple(ids))
    assert len(seen) > 1  # the coins fall anew for every request
