"""tritonclient's gRPC client, and what its asyncio form shares with it."""

import queue
from importlib.metadata import version

import tritonclient.grpc as triton
import wire

ANSWER_S = 30


class Client:
    def __init__(self, _: int, grpc_port: int) -> None:
        self._client = triton.InferenceServerClient(f"127.0.0.1:{grpc_port}")
        self._streamed = queue.Queue()

    def versions(self):
        return {"tritonclient": version("tritonclient"), "grpcio": version("grpcio")}

    def infer(self, how, headers=None, **job):
        if how == "stream":
            return self._stream(headers, job)
        packing = how if how in ("gzip", "deflate") else None
        return told(self._client.infer(**call(**job), headers=headers, compression_algorithm=packing))

    def live(self):
        return self._client.is_server_live()

    def ready(self):
        return self._client.is_server_ready()

    def model_ready(self, model, version=""):
        return self._client.is_model_ready(model, version)

    def server(self):
        return self._client.get_server_metadata(as_json=True)

    def metadata(self, model, version=""):
        return self._client.get_model_metadata(model, version, as_json=True)

    def config(self, model):
        return self._client.get_model_config(model, as_json=True)["config"]

    def index(self):
        return self._client.get_model_repository_index(as_json=True)["models"]

    def statistics(self, model):
        return self._client.get_inference_statistics(model, as_json=True)

    def load(self, model):
        return self._client.load_model(model)

    def unload(self, model):
        return self._client.unload_model(model)

    def _stream(self, headers, job):
        self._client.start_stream(lambda result, error: self._streamed.put((result, error)), headers=headers)
        try:
            self._client.async_stream_infer(**call(**job))
            result, error = self._streamed.get(timeout=ANSWER_S)
        finally:
            self._client.stop_stream()
        if error is not None:
            raise error
        return told(result)


def call(model, inputs, outputs=None, timeout_us=None, request_id="", version="", **others):
    """The arguments of `infer`."""
    given = []
    for tensor in inputs:
        given.append(triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        given[-1].set_data_from_numpy(wire.numpy_of(tensor))
    return {
        "model_name": model,
        "inputs": given,
        "model_version": version,
        "outputs": outputs and [triton.InferRequestedOutput(name) for name in outputs],
        "request_id": request_id,
        "timeout": timeout_us,
        **others,
    }


def told(result):
    answer = result.get_response()
    outputs = [
        wire.tensor_of(each.name, each.datatype, each.shape, result.as_numpy(each.name)) for each in answer.outputs
    ]
    parameters = {
        name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in answer.parameters.items()
    }
    return {"outputs": outputs, "parameters": parameters, "id": answer.id}


if __name__ == "__main__":
    wire.run(Client)
