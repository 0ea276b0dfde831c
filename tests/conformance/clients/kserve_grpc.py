"""KServe's gRPC client."""

from importlib.metadata import version

import kserve_rest
import wire
from kserve import InferenceGRPCClient
from kserve.protocol.infer_type import to_http_parameters


class Client:
    def __init__(self, grpc_port: int) -> None:
        self._client = InferenceGRPCClient(f"127.0.0.1:{grpc_port}")

    def versions(self):
        return {"kserve": version("kserve"), "grpcio": version("grpcio")}

    async def infer(self, model, how, headers=None, **job):
        request = kserve_rest.request_of(model, is_binary=how == "raw", **job)
        answer = await self._client.infer(request, headers=tuple((headers or {}).items()))
        return kserve_rest.told(answer, to_http_parameters(answer.parameters))

    def live(self):
        return self._client.is_server_live()

    def ready(self):
        return self._client.is_server_ready()

    def model_ready(self, model):
        return self._client.is_model_ready(model)


async def make(_: int, grpc_port: int) -> Client:
    return Client(grpc_port)


if __name__ == "__main__":
    wire.run(make)
