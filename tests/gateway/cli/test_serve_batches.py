"""Batches, as clients and operators meet them: the real command, and callers who come at once."""

import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import onnx.parser

TEXT = '<ir_version: 9, opset_import: ["": 17]> m (string[N] x) => (string[N] y) { y = Identity(x) }'
CALLERS_N = 12


def test_callers_who_come_at_once_share_runs_and_get_their_own_rows(start_gateway, tmp_path):
    """Events and metrics say how large the runs were."""
    (tmp_path / "text.onnx").write_bytes(onnx.parser.parse_model(TEXT).SerializeToString())
    (tmp_path / "routes").mkdir()
    arm = {"model": "file:text.onnx", "role": "baseline", "batching": {"max_wait_ms": 1000}}
    route = {"turnout": "v1", "route": "text", "timeout": "1m", "arms": {"one": arm}, "strategy": {"kind": "baseline"}}
    (tmp_path / "routes" / "text.yaml").write_text(json.dumps(route))
    gateway = start_gateway(tmp_path)

    def ask(number):
        x = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [f"caller {number}"]}
        body = json.dumps({"inputs": [x]}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.http}/v2/models/text/infer", body, 60) as answer:
            return json.load(answer)["outputs"][0]["data"]

    with ThreadPoolExecutor(CALLERS_N) as callers:
        answers = list(callers.map(ask, range(CALLERS_N)))
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics}/metrics", timeout=60) as page:
        text = page.read().decode()
    assert 0 == gateway.stop()

    counted = dict(re.findall(r'^turnout_batch_(\w+)\{arm="one",route="text"\} (\S+)$', text, re.MULTILINE))
    assert [[f"caller {number}"] for number in range(CALLERS_N)] == answers
    calls = [event["calls"][0] for event in gateway.events("request")]
    runs_n = float(counted["calls_count"])
    assert (CALLERS_N, CALLERS_N) == (float(counted["calls_sum"]), float(counted["rows_sum"]))
    assert runs_n < CALLERS_N
    assert max(call["batch_rows"] for call in calls) >= CALLERS_N / runs_n
    assert all(0 < call["queued_ms"] < call["duration_ms"] for call in calls)
