"""tritonclient's HTTP client, and what its asyncio form shares with it."""

from importlib.metadata import version

import tritonclient.http as triton
import wire

BINARY_IN = ("binary", "gzip", "deflate", "binary-to-json")
BINARY_OUT = ("binary", "gzip", "deflate", "json-to-binary")


class Client:
    def __init__(self, http_port: int, _: int) -> None:
        self._client = triton.InferenceServerClient(f"127.0.0.1:{http_port}")

    def versions(self):
        return {"tritonclient": version("tritonclient"), "geventhttpclient": version("geventhttpclient")}

    def infer(self, **job):
        return told(self._client.infer(**call(**job)))

    def live(self):
        return self._client.is_server_live()

    def ready(self):
        return self._client.is_server_ready()

    def model_ready(self, model, version=""):
        return self._client.is_model_ready(model, version)

    def server(self):
        return self._client.get_server_metadata()

    def metadata(self, model, version=""):
        return self._client.get_model_metadata(model, version)

    def config(self, model):
        return self._client.get_model_config(model)

    def index(self):
        return self._client.get_model_repository_index()

    def statistics(self, model):
        return self._client.get_inference_statistics(model)

    def load(self, model):
        return self._client.load_model(model)

    def unload(self, model):
        return self._client.unload_model(model)


def call(model, inputs, how, outputs=None, timeout_us=None, request_id="", version="", **others):
    """The arguments of `infer`. Where no output is named, this client wants all of them in binary."""
    given = []
    for tensor in inputs:
        given.append(triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        given[-1].set_data_from_numpy(wire.numpy_of(tensor), binary_data=how in BINARY_IN)
    binary = how in BINARY_OUT
    packing = how if how in ("gzip", "deflate") else None
    return {
        "model_name": model,
        "inputs": given,
        "model_version": version,
        "outputs": outputs and [triton.InferRequestedOutput(name, binary_data=binary) for name in outputs],
        "request_id": request_id,
        "timeout": timeout_us,
        "request_compression_algorithm": packing,
        "response_compression_algorithm": packing,
        **others,
    }


def told(result):
    answer = result.get_response()
    outputs = [
        wire.tensor_of(each["name"], each["datatype"], each["shape"], result.as_numpy(each["name"]))
        for each in answer["outputs"]
    ]
    return {"outputs": outputs, "parameters": answer.get("parameters", {}), "id": answer.get("id", "")}


if __name__ == "__main__":
    wire.run(Client)
