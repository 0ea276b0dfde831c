"""tritonclient's gRPC client for asyncio."""

import triton_grpc
import tritonclient.grpc.aio as triton
import wire


class Client(triton_grpc.Client):
    """The same calls; each returns something to await, which wire.py does."""

    def __init__(self, _: int, grpc_port: int) -> None:
        self._client = triton.InferenceServerClient(f"127.0.0.1:{grpc_port}")

    async def infer(self, how, headers=None, **job):
        if how == "stream":
            return await self._stream(headers, job)
        packing = how if how in ("gzip", "deflate") else None
        called = triton_grpc.call(**job)
        return triton_grpc.told(await self._client.infer(**called, headers=headers, compression_algorithm=packing))

    async def config(self, model):
        return (await self._client.get_model_config(model, as_json=True))["config"]

    async def index(self):
        return (await self._client.get_model_repository_index(as_json=True))["models"]

    async def _stream(self, headers, job):
        async def requests():
            yield triton_grpc.call(**job)

        answers = self._client.stream_infer(requests(), headers=headers)
        result, error = await anext(aiter(answers))
        if error is not None:
            raise error
        return triton_grpc.told(result)

    def close(self):
        return self._client.close()


async def make(http_port: int, grpc_port: int) -> Client:
    return Client(http_port, grpc_port)


if __name__ == "__main__":
    wire.run(make)
