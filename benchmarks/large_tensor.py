"""What one large tensor costs on its way in and out again: seconds, and memory beyond what the gateway held before.

    .venv/bin/python benchmarks/large_tensor.py [MIB] [--rounds N]

The model returns what it is given, so all that is measured is the way. The client is this process: its own copies take
part of the time, none of the memory. The first round is left out.
"""

import argparse
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

import grpc
import onnx.parser

from benchmarks.machine import end_in_order
from benchmarks.readings import family_of
from runners.oip.messages import ModelInferRequest, ModelInferResponse

MIB = 1 << 20
ROW_BYTES = 4096
GRAPH = '<ir_version: 9, opset_import: ["": 17]> m (float[N,1024] x) => (float[N,1024] y) { y = Identity(x) }'
PORTS = re.compile(r"http://\S+?:(\d+), grpc://\S+?:(\d+),")
START_LIMIT_S = 30.0


@dataclass(frozen=True)
class Gateway:
    """A gateway that answers; `process` is its worker's."""

    http: int
    grpc: int
    process: int

    def memory(self, name: str) -> int:
        """Bytes: VmRSS now, VmHWM at most since it was last forgotten."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", status)[1]) << 10

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process}/clear_refs").write_text("5")


@dataclass(frozen=True)
class Cost:
    """One way's figures: the median time there and back, and the most memory beyond what was held before."""

    way: str
    seconds: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mib", nargs="?", type=int, default=60, help="size of the tensor [60]")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    end_in_order()
    print(f"| {given.mib} MiB, there and back | seconds | peak memory, MiB | times the tensor |\n|---|---|---|---|")
    for cost in measure(given.mib, given.rounds):
        peak = cost.peak_bytes / MIB
        print(f"| {cost.way} | {cost.seconds:.2f} | {peak:.0f} | {peak / given.mib:.1f} |")


def measure(mib: int, rounds: int) -> list[Cost]:
    """Each way through a gateway of its own, so that none starts with memory that another left."""
    tensor = bytes(range(256)) * (mib * MIB // 256)
    costs = []
    for name, way in {"HTTP, binary": ask_http, "gRPC, raw": ask_grpc}.items():
        with serve() as gateway:
            way(gateway, tensor[:ROW_BYTES])
            before = gateway.memory("VmRSS")
            gateway.forget_peak()
            times = [clock(way, gateway, tensor) for _ in range(rounds + 1)]
            costs.append(Cost(name, median(times[1:]), gateway.memory("VmHWM") - before))
    return costs


def clock(way: Callable[[Gateway, bytes], bytes], gateway: Gateway, tensor: bytes) -> float:
    began = perf_counter()
    answer = way(gateway, tensor)
    took_s = perf_counter() - began
    assert answer == tensor
    return took_s


def ask_http(gateway: Gateway, tensor: bytes) -> bytes:
    size = {"binary_data_size": len(tensor)}
    wire = {"name": "x", "datatype": "FP32", "shape": [len(tensor) // ROW_BYTES, 1024], "parameters": size}
    head = json.dumps({"inputs": [wire], "parameters": {"binary_data_output": True}}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", gateway.http, timeout=60)
    connection.request(
        "POST", "/v2/models/same/infer", head + tensor, {"inference-header-content-length": str(len(head))}
    )
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, body[:1000]
    return body[int(response.headers["inference-header-content-length"]) :]


def ask_grpc(gateway: Gateway, tensor: bytes) -> bytes:
    request = ModelInferRequest(model_name="same", raw_input_contents=[tensor])
    request.inputs.add(name="x", datatype="FP32", shape=[len(tensor) // ROW_BYTES, 1024])
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc}", options=options) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        answer = ModelInferResponse.FromString(call(request.SerializeToString(), timeout=60))
    return answer.raw_output_contents[0]


@contextmanager
def serve() -> Iterator[Gateway]:
    """`turnout serve` for a model that returns what it is given, at its defaults but for the deadline."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "routes").mkdir()
        (folder / "same.onnx").write_bytes(onnx.parser.parse_model(GRAPH).SerializeToString())
        arms = {"same": {"model": "file:same.onnx", "role": "baseline", "outputs": {"nan": "pass"}}}
        route = {"turnout": "v1", "route": "same", "timeout": "60s", "arms": arms, "strategy": {"kind": "baseline"}}
        (folder / "routes" / "same.yaml").write_text(json.dumps(route))
        log = folder / "log"
        command = [sys.executable, "-m", "gateway", "serve", scratch, "--port", "0", "--state", str(folder / "state")]
        with log.open("wb") as written:
            process = subprocess.Popen(command, stderr=written)
        try:
            http_port, grpc_port = wait_for_ports(log)
            yield Gateway(http_port, grpc_port, family_of(process.pid)[-1])
        finally:
            process.terminate()
            process.wait()


def wait_for_ports(log: Path) -> tuple[int, int]:
    until = perf_counter() + START_LIMIT_S
    while perf_counter() < until:
        if found := PORTS.search(log.read_text()):
            return int(found[1]), int(found[2])
        sleep(0.05)
    raise SystemExit(f"the gateway did not start:\n{log.read_text()}")


if __name__ == "__main__":
    main()
