"""A remote model over HTTP."""

import ssl
from time import monotonic
from typing import TypeVar
from urllib.parse import quote

from msgspec import Struct, json

from runners.core.errors import ExecutionFailed, InvalidOutput
from runners.core.tensor import InferenceRequest, Tensor
from runners.oip.address import Address
from runners.oip.client import ANSWER_LIMIT_BYTES, Metadata, WireSpec, metadata_of, onward, shown
from runners.oip.credentials import Token
from runners.oip.http_codec import decode_answer, encode_request, error_of
from runners.oip.http_connection import HttpAnswer, HttpPool

_HEAD_BYTES = 1 << 20  # of an answer, for its JSON, beside the tensors
_BINARY_EXTENSIONS = {"binary_tensor_data", "binary_data"}  # as Triton and KServe's documents spell it
_Document = TypeVar("_Document")


class _Server(Struct):
    extensions: list[str] = []


class _Model(Struct):
    platform: str | None = None
    versions: tuple[str, ...] | None = None
    inputs: tuple[WireSpec, ...] | None = None
    outputs: tuple[WireSpec, ...] | None = None


class HttpClient:
    """One model of one HTTP server."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None, token: Token, model: str, version: str) -> None:
        self._pool = HttpPool(address, tls, ANSWER_LIMIT_BYTES + _HEAD_BYTES)
        self._token = token
        self._root = f"{address.path}/v2"
        self._path = f"{self._root}/models/{quote(model, safe='')}"
        if version:
            self._path += f"/versions/{quote(version, safe='')}"
        self._common = f"HTTP/1.1\r\nhost: {address.authority}\r\nuser-agent: turnout\r\n"
        self._post = f"POST {self._path}/infer {self._common}"
        self._is_binary = False  # until the server says that it takes tensors so

    async def metadata(self, deadline_at: float, /) -> Metadata:
        server = _read(await self._get(self._root, deadline_at), _Server)
        self._is_binary = not _BINARY_EXTENSIONS.isdisjoint(server.extensions)
        model = _read(await self._get(self._path, deadline_at), _Model)
        return metadata_of(model.platform or "", model.versions or (), model.inputs or (), model.outputs or ())

    async def check_ready(self, deadline_at: float, /) -> None:
        await self._get(f"{self._path}/ready", deadline_at)

    async def infer(self, request: InferenceRequest, deadline_at: float, /) -> tuple[Tensor, ...]:
        remaining_s = deadline_at - monotonic()
        written, tensors = encode_request(request, remaining_s, is_binary=self._is_binary)
        length_n = len(written) + sum(map(len, tensors))
        lines = f"content-length: {length_n}\r\nx-request-timeout-ms: {max(remaining_s, 1e-6) * 1e3:.3f}\r\n"
        if self._is_binary:
            lines += f"content-type: application/octet-stream\r\ninference-header-content-length: {len(written)}\r\n"
        else:
            lines += "content-type: application/json\r\n"
        for name, value in onward(request.context):
            lines += f"{name}: {value}\r\n"
        head = f"{self._post}{lines}{self._authorization()}\r\n".encode("ascii")
        answer = await self._pool.ask([head, written, *tensors], deadline_at)
        return decode_answer(_checked(answer))

    async def close(self) -> None:
        await self._pool.close()

    async def _get(self, path: str, deadline_at: float) -> HttpAnswer:
        head = f"GET {path} {self._common}{self._authorization()}\r\n".encode("ascii")
        return _checked(await self._pool.ask([head], deadline_at))

    def _authorization(self) -> str:
        return f"authorization: {self._token.bearer}\r\n" if self._token.bearer else ""


def _checked(answer: HttpAnswer) -> HttpAnswer:
    """The answer, if it is one that was asked for. Raises what any other means."""
    if answer.status != 200:
        raise error_of(answer)
    if answer.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ExecutionFailed("the remote server packed its answer, which nobody asked for")
    return answer


def _read(answer: HttpAnswer, kind: type[_Document]) -> _Document:
    try:
        return json.decode(answer.body, type=kind)
    except (ValueError, RecursionError) as error:
        raise InvalidOutput(f"its metadata cannot be read: {shown(str(error))}") from None
