"""An ONNX model as a BentoML service, by itself and with BentoML's adaptive batching. Run by `bentoml serve`."""

import os

import bentoml
import numpy as np
import onnxruntime

ROUTE = f"/v2/models/{os.environ['NAME']}/infer"
BATCH_ROWS, BATCH_MS = 64, 1000  # the latency is what it may cost; how long it waits is for BentoML to find out
QUIET = {"access": {"enabled": False}}
TRAFFIC = {"timeout": 60, "max_concurrency": 1000}


def open_session() -> onnxruntime.InferenceSession:
    """One session with one thread, as every server here has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])


def read(tensor: dict) -> np.ndarray:
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])


def write(probs: np.ndarray) -> dict:
    return {"name": "probs", "shape": list(probs.shape), "datatype": "FP32", "data": probs.ravel().tolist()}


@bentoml.service(name="plain", workers=1, traffic=TRAFFIC, logging=QUIET)
class Plain:
    """Every call a run."""

    def __init__(self) -> None:
        self._session = open_session()

    @bentoml.api(route=ROUTE)
    async def infer(self, inputs: list, id: str = "") -> dict:  # noqa: A002  the protocol's own word
        (probs,) = self._session.run(["probs"], {"x": read(inputs[0])})
        return {"model_name": os.environ["NAME"], "model_version": "1", "id": id, "outputs": [write(probs)]}


@bentoml.service(name="batched", workers=1, traffic=TRAFFIC, logging=QUIET)
class Batched:
    """BentoML joins the lists of several calls and deals the list that comes back: an answer is its outputs alone."""

    def __init__(self) -> None:
        self._session = open_session()

    @bentoml.api(route=ROUTE, batchable=True, max_batch_size=BATCH_ROWS, max_latency_ms=BATCH_MS)
    async def infer(self, inputs: list) -> list:
        x = np.concatenate([read(tensor) for tensor in inputs])
        (probs,) = self._session.run(["probs"], {"x": x})
        return [write(row[None]) for row in probs]
