"""tritonclient's HTTP client for asyncio."""

from importlib.metadata import version

import triton_http
import tritonclient.http.aio as triton
import wire


class Client(triton_http.Client):
    """The same calls; each returns something to await, which wire.py does."""

    def __init__(self, http_port: int, _: int) -> None:
        self._client = triton.InferenceServerClient(f"127.0.0.1:{http_port}")

    def versions(self):
        return {"tritonclient": version("tritonclient"), "aiohttp": version("aiohttp")}

    async def infer(self, **job):
        return triton_http.told(await self._client.infer(**triton_http.call(**job)))

    def close(self):
        return self._client.close()


async def make(http_port: int, grpc_port: int) -> Client:
    return Client(http_port, grpc_port)


if __name__ == "__main__":
    wire.run(make)
