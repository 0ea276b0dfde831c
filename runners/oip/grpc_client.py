"""A remote model over gRPC. Messages are read here and not by grpcio, so that a broken one is known for what it is."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from types import MappingProxyType
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from msgspec import Struct

from runners.core.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InvalidInput,
    InvalidOutput,
    NotReady,
    Overloaded,
    RunnerError,
)
from runners.core.tensor import InferenceRequest, Tensor
from runners.oip import messages
from runners.oip.address import Address
from runners.oip.client import ANSWER_LIMIT_BYTES, Metadata, Unreachable, WireSpec, metadata_of, onward, shown
from runners.oip.credentials import Token
from runners.oip.grpc_codec import decode_answer, encode_request

_HEAD_BYTES = 1 << 20  # of an answer, for all that is no tensor
_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", ANSWER_LIMIT_BYTES + _HEAD_BYTES),
    ("grpc.max_send_message_length", -1),  # a request was bounded when it came in
    ("grpc.use_local_subchannel_pool", 1),  # a shadow's large tensors do not stand before a client's
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_retries", 0),  # the fallback is ours to choose
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.primary_user_agent", "turnout"),
]
_OURS = "CLIENT: Received message larger than max"  # how grpcio words a limit that this side set
_CAUSES: Mapping[grpc.StatusCode, type[RunnerError]] = MappingProxyType(  # all others are the model's failure
    {
        grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
        grpc.StatusCode.UNAVAILABLE: NotReady,
        grpc.StatusCode.NOT_FOUND: NotReady,
        grpc.StatusCode.CANCELLED: NotReady,
        grpc.StatusCode.UNAUTHENTICATED: NotReady,
        grpc.StatusCode.PERMISSION_DENIED: NotReady,
        grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
        grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    }
)
_Answer = TypeVar("_Answer", bound=Message)


class _Methods(Struct, frozen=True):
    """The methods that are called; they take and give bytes."""

    infer: Any
    metadata: Any
    ready: Any


class GrpcClient:
    """One model of one gRPC server."""

    def __init__(
        self, address: Address, tls: grpc.ChannelCredentials | None, token: Token, model: str, version: str
    ) -> None:
        if tls is None:
            self._channel = grpc.aio.insecure_channel(address.authority, options=_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address.authority, tls, options=_OPTIONS)
        path = f"/{messages.SERVICE}/"
        self._methods = _Methods(
            *(self._channel.unary_unary(path + name) for name in ("ModelInfer", "ModelMetadata", "ModelReady"))
        )
        self._token = token
        self._model = model
        self._version = version
        self._is_closed = False

    async def metadata(self, deadline_at: float, /) -> Metadata:
        asked = messages.ModelMetadataRequest(name=self._model, version=self._version).SerializeToString()
        body = await self._call(self._methods.metadata, asked, deadline_at)
        answer: Any = _parse(messages.ModelMetadataResponse, body)
        inputs, outputs = (
            tuple(WireSpec(spec.name, spec.datatype, tuple(spec.shape)) for spec in specs)
            for specs in (answer.inputs, answer.outputs)
        )
        return metadata_of(answer.platform, tuple(answer.versions), inputs, outputs)

    async def check_ready(self, deadline_at: float, /) -> None:
        asked = messages.ModelReadyRequest(name=self._model, version=self._version).SerializeToString()
        body = await self._call(self._methods.ready, asked, deadline_at)
        answer: Any = _parse(messages.ModelReadyResponse, body)
        if not answer.ready:
            raise NotReady("the remote server says that its model is not ready")

    async def infer(self, request: InferenceRequest, deadline_at: float, /) -> tuple[Tensor, ...]:
        asked = encode_request(request, self._model, self._version, deadline_at - monotonic())
        body = await self._call(self._methods.infer, asked, deadline_at, tuple(onward(request.context)))
        return decode_answer(_parse(messages.ModelInferResponse, body))

    async def close(self) -> None:
        self._is_closed = True
        await self._channel.close()

    async def _call(
        self, method: Any, asked: bytes, deadline_at: float, context: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """The bytes of the answer. A caller who leaves cancels the call. Raises RunnerErrors or Unreachable."""
        if self._token.bearer:
            context = (*context, ("authorization", self._token.bearer))
        self._raise_if_closed()
        try:
            answer: bytes = await method(asked, timeout=max(0.0, deadline_at - monotonic()), metadata=context or None)
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error.code(), error.details() or "") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            self._raise_if_closed()  # which cancels the calls under way, but not those who made them
            raise
        return answer

    def _error_of(self, code: grpc.StatusCode, details: str) -> RunnerError | Unreachable:
        """What an error means for the request. Without a connection it is nothing that the server said."""
        is_connected = self._channel.get_state() is grpc.ChannelConnectivity.READY
        if not is_connected and code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return Unreachable(f"the remote server cannot be reached: {shown(details)}")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _OURS in details:
            return InvalidOutput(f"the answer is larger than the limit of {ANSWER_LIMIT_BYTES} bytes")
        said = f"the remote server answered {code.name}{f': {shown(details)}' if details else ''}"
        return _CAUSES.get(code, ExecutionFailed)(said)

    def _raise_if_closed(self) -> None:
        if self._is_closed:
            raise NotReady("the model is closed")


def _parse(kind: type[_Answer], body: bytes) -> _Answer:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise InvalidOutput(f"the remote server's answer is no {kind.__name__}") from None
