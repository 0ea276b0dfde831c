"""Whether a server answers right: what it says is compared with what onnxruntime says, before anything is timed."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.load import GRPC_PATH
from benchmarks.models import ARMS, Workload
from benchmarks.servers import Running
from runners.oip.messages import ModelInferRequest, ModelInferResponse

ASKED_N = 32  # by as many units, so that a split by half meets both arms
TOLERANCE = 1e-5
BASELINE = next(iter(ARMS))
UNIT_HEADER = "x-turnout-unit"
CALL_S = 10.0
FRAME_BYTES = 5

Answer = tuple[str, NDArray[np.float32]]  # the arm that gave it, and its probs


class WrongAnswer(Exception):
    """A server answered with something else than the model's output."""


def check_answers(running: Running, case: str, workload: Workload, asked_n: int = ASKED_N) -> Counter[str]:
    """Ask as many units as `asked_n`; which arms answered how often. Raises WrongAnswer."""
    port = running.ports["grpc" if case == "grpc" else "http"]
    arms: Counter[str] = Counter()
    ask, close = _asking(case, port, workload)
    try:
        for number in range(asked_n):
            arm, probs = ask(f"account-{number}")
            compare(f"{running.name}, {case}", arm, probs, workload)
            arms[arm] += 1
    except (OSError, grpc.RpcError, http.client.HTTPException, KeyError, ValueError) as error:
        raise WrongAnswer(f"{running.name}, {case}: {type(error).__name__}: {error}") from error
    finally:
        close()
    return arms


def await_answers(running: Running, case: str, workload: Workload, limit_s: float = 30.0) -> None:
    """Wait until a server that has just started gives one right answer. Raises WrongAnswer."""
    ends_at = time.monotonic() + limit_s
    while True:
        try:
            check_answers(running, case, workload, asked_n=1)
        except WrongAnswer:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)
        else:
            return


def compare(where: str, arm: str, probs: NDArray[np.float32], workload: Workload) -> None:
    """Raises WrongAnswer unless these are the probs of that arm."""
    expected = workload.expected.get(arm)
    if expected is None:
        raise WrongAnswer(f"{where}: answered by arm {arm!r}, which was never written")
    if probs.shape != expected.shape or not np.allclose(probs, expected, rtol=0, atol=TOLERANCE):
        raise WrongAnswer(f"{where}: arm {arm!r} answered {probs.tolist()}, onnxruntime says {expected.tolist()}")


def read_json(body: bytes) -> Answer:
    """An answer whose tensor is in JSON."""
    answer = json.loads(body)
    if isinstance(answer, list):  # BentoML's batching deals lists, so there an answer is its outputs alone
        answer = {"outputs": answer}
    (output,) = answer["outputs"]
    return _arm(answer), np.array(output["data"], np.float32).reshape(output["shape"])


def read_binary(body: bytes, json_length: int) -> Answer:
    """An answer whose tensor is behind its JSON."""
    answer = json.loads(body[:json_length])
    (output,) = answer["outputs"]
    if output["parameters"]["binary_data_size"] != len(body) - json_length:
        raise ValueError("binary_data_size is not the size of what is behind the JSON")
    return _arm(answer), np.frombuffer(body, np.float32, offset=json_length).reshape(output["shape"])


def read_grpc(response: ModelInferResponse) -> Answer:
    """An answer with a raw tensor."""
    (output,) = response.outputs
    (raw,) = response.raw_output_contents
    named = "turnout_arm" in response.parameters
    arm = response.parameters["turnout_arm"].string_param if named else BASELINE
    return arm, np.frombuffer(raw, np.float32).reshape(tuple(output.shape))


def _asking(case: str, port: int, workload: Workload) -> tuple[Callable[[str], Answer], Callable[[], None]]:
    """Something to ask with one unit after another, and how to stop."""
    body = workload.bodies[case].read_bytes()
    if case == "grpc":
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        request = ModelInferRequest.FromString(body[FRAME_BYTES:])
        infer = channel.unary_unary(
            GRPC_PATH,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )
        return lambda unit: read_grpc(infer(request, timeout=CALL_S, metadata=[(UNIT_HEADER, unit)])), channel.close
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_S)
    headers = {"content-type": "application/json"}
    if case == "binary":
        headers = {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(workload.json_length),
        }

    def ask(unit: str) -> Answer:
        connection.request("POST", f"/v2/models/{workload.name}/infer", body, {**headers, UNIT_HEADER: unit})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise ValueError(f"status {response.status}: {answer[:300]!r}")
        length = response.headers["inference-header-content-length"]
        if (case == "binary") != bool(length):
            raise ValueError(f"asked as {case}, and the answer's JSON length is {length}")
        return read_binary(answer, int(length)) if length else read_json(answer)

    return ask, connection.close


def _arm(answer: dict[str, Any]) -> str:
    """The arm an answer names. The floor names none: it has but one model, the baseline's."""
    return str((answer.get("parameters") or {}).get("turnout_arm", BASELINE))
