"""A runtime of MLServer's own kind: an ONNX file, run by ONNX Runtime. MLServer imports this, in its environment.

Outputs are written by hand, for MLServer's codec for arrays makes a column of everything that has one dimension.
"""

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

DATATYPES = {"int64": "INT64", "float32": "FP32"}
FAILS, LIES = 99, 98  # as a request's first number: raise, or leave out an output


class OnnxModel(MLModel):
    """Runs what `parameters.uri` names."""

    async def load(self) -> bool:
        self._session = ort.InferenceSession(self._settings.parameters.uri, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        fed = {each.name: NumpyCodec.decode_input(each).astype(np.float32) for each in payload.inputs}
        first = next(iter(fed.values())).flat[0]
        if first == FAILS:
            raise RuntimeError("the model was told to fail")
        names = [output.name for output in self._session.get_outputs()]
        arrays = self._session.run(names, fed)
        outputs = [
            ResponseOutput(name=name, datatype=DATATYPES[str(a.dtype)], shape=list(a.shape), data=a.ravel().tolist())
            for name, a in zip(names, arrays, strict=True)
        ]
        kept = outputs[:1] if first == LIES else outputs
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id, outputs=kept)
