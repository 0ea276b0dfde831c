"""An ONNX model on LitServe. Run in an environment of its own; the environment variables say what, where and how."""

import os

import litserve
import numpy as np
import onnxruntime

BATCH_ROWS, BATCH_WAIT_S = 64, 0.005


class OnnxApi(litserve.LitAPI):
    """One session with one thread, as every server here has."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: dict) -> np.ndarray:
        tensor = request["inputs"][0]
        return np.array(tensor["data"], np.float32).reshape(tensor["shape"])

    def batch(self, inputs: list) -> np.ndarray:
        return np.concatenate(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self._session.run(["probs"], {"x": x})[0]

    def unbatch(self, output: np.ndarray) -> list:
        return [row[None] for row in output]

    def encode_response(self, output: np.ndarray) -> dict:
        tensor = {"name": "probs", "shape": list(output.shape), "datatype": "FP32", "data": output.ravel().tolist()}
        return {"model_name": os.environ["NAME"], "model_version": "1", "outputs": [tensor]}


if __name__ == "__main__":
    batching = {"max_batch_size": BATCH_ROWS, "batch_timeout": BATCH_WAIT_S} if os.environ["BATCHED"] == "1" else {}
    api = OnnxApi(api_path=f"/v2/models/{os.environ['NAME']}/infer", **batching)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60, track_requests=False)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["HTTP_PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
