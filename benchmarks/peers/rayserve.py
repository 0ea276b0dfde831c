"""An ONNX model on Ray Serve, by itself and with its batching. Run in an environment of its own.

The environment variables say what, where and how. Ray is started here, on this machine alone, and ended with this
process; whatever it starts inherits the core that this process is pinned to.
"""

import os
import signal
import sys
import threading

import numpy as np
import onnxruntime
import orjson
import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response

HOST = "127.0.0.1"
BATCH_ROWS, BATCH_WAIT_S = 64, 0.005
ONGOING_N = 1000  # Ray's default of 5 would have most callers wait in the proxy
STORE_BYTES = 128 << 20  # of shared memory for objects; none here is large
QUIET = LoggingConfig(enable_access_log=False, log_level="WARNING")


class Model:
    """One session with one thread, as every server here has."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    async def __call__(self, request: Request) -> Response:
        asked = orjson.loads(await request.body())
        (tensor,) = asked["inputs"]
        probs = await self.run(np.array(tensor["data"], np.float32).reshape(tensor["shape"]))
        output = {"name": "probs", "shape": probs.shape, "datatype": "FP32", "data": probs.ravel().tolist()}
        said = {"model_name": os.environ["NAME"], "model_version": "1", "id": asked.get("id", "")}
        return Response(orjson.dumps({**said, "outputs": [output]}), media_type="application/json")

    async def run(self, x: np.ndarray) -> np.ndarray:
        return self._session.run(["probs"], {"x": x})[0]


class Batched(Model):
    """Calls that wait for each other share a run."""

    @serve.batch(max_batch_size=BATCH_ROWS, batch_wait_timeout_s=BATCH_WAIT_S, max_concurrent_batches=1)
    async def run(self, rows: list) -> list:
        (probs,) = self._session.run(["probs"], {"x": np.concatenate(rows)})
        return [row[None] for row in probs]


def main() -> None:
    told_to_end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # also while Ray still starts
    try:
        ray.init(
            address="local",  # never somebody else's cluster
            num_cpus=1,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address=HOST,
            _temp_dir=os.environ["RAY_FOLDER"],
        )
        serve.start(http_options=HTTPOptions(host=HOST, port=int(os.environ["HTTP_PORT"])), logging_config=QUIET)
        wanted = Batched if os.environ["BATCHED"] == "1" else Model
        deployment = serve.deployment(
            wanted, max_ongoing_requests=ONGOING_N, ray_actor_options={"num_cpus": 1}, logging_config=QUIET
        )
        serve.run(deployment.bind(), name="bench", route_prefix="/")
        told_to_end.wait()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
