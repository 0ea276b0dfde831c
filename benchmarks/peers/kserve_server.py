"""An ONNX model on KServe's own server. Run in its own environment; environment variables say what and where."""

import logging
import os

import numpy as np
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class OnnxModel(Model):
    """One session with one thread, as every server here has."""

    def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        self.ready = True
        return True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:  # noqa: ARG002
        x = payload.inputs[0].as_numpy().astype(np.float32, copy=False)
        (probs,) = self._session.run(["probs"], {"x": x})
        output = InferOutput("probs", list(probs.shape), "FP32")
        output.set_data_from_numpy(probs, binary_data=payload.from_grpc)
        return InferResponse(payload.id, self.name, [output])


if __name__ == "__main__":
    model = OnnxModel(os.environ["NAME"])
    model.load()
    logging.getLogger("uvicorn.access").disabled = True
    server = ModelServer(
        http_port=int(os.environ["HTTP_PORT"]),
        grpc_port=int(os.environ["GRPC_PORT"]),
        workers=1,
        enable_grpc=True,
        access_log_format=None,
    )
    server.start([model])
