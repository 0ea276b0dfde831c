"""KServe's REST client, and what its gRPC client shares with it."""

from importlib.metadata import version

import wire
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput


class Client:
    def __init__(self, http_port: int) -> None:
        self._client = InferenceRESTClient(RESTConfig(protocol="v2"))
        self._url = f"http://127.0.0.1:{http_port}"

    def versions(self):
        return {"kserve": version("kserve"), "httpx": version("httpx")}

    async def infer(self, model, how, headers=None, timeout_us=None, **job):
        request = request_of(model, is_binary=how == "binary", timeout_us=timeout_us, **job)
        answer_headers = {}
        answer = await self._client.infer(self._url, request, model, headers, answer_headers)
        return {**told(answer, answer.parameters), "headers": answer_headers}

    def live(self):
        return self._client.is_server_live(self._url)

    def ready(self):
        return self._client.is_server_ready(self._url)

    def model_ready(self, model):
        return self._client.is_model_ready(self._url, model)


def request_of(model, inputs, is_binary, outputs=None, timeout_us=None, request_id="", parameters=None):
    given = []
    for tensor in inputs:
        given.append(InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        given[-1].set_data_from_numpy(wire.numpy_of(tensor), binary_data=is_binary)
    parameters = dict(parameters or {})
    if timeout_us is not None:
        parameters["timeout"] = timeout_us
    if is_binary:
        parameters["binary_data_output"] = True
    wanted = outputs and [RequestedOutput(name, {"binary_data": is_binary}) for name in outputs]
    return InferRequest(model, given, request_id or None, parameters=parameters, request_outputs=wanted)


def told(answer, parameters):
    outputs = [wire.tensor_of(each.name, each.datatype, each.shape, each.as_numpy()) for each in answer.outputs]
    return {"outputs": outputs, "parameters": parameters or {}, "id": answer.id or ""}


async def make(http_port: int, _: int) -> Client:
    return Client(http_port)


if __name__ == "__main__":
    wire.run(make)
