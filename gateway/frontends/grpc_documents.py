"""Every gRPC method but inference, filled from the same documents that HTTP sends, and the table of all methods."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message

from gateway.errors import Malformed, NotImplementedHere
from gateway.frontends.discovery import Discovery
from gateway.frontends.grpc import Context, GrpcFrontend, abort
from gateway.frontends.status import refusal_of
from runners.oip import messages as m

PREFIX = f"/{m.SERVICE}/"
Asked = TypeVar("Asked", bound=Message)


class GrpcMethods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the handler of a method. What the protocol names and this server lacks is UNIMPLEMENTED with its name."""

    def __init__(self, frontend: GrpcFrontend, discovery: Discovery) -> None:
        self._handlers: Mapping[str, Any] = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(frontend.infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(frontend.stream_infer),
            **_documents(discovery),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method: str = handler_call_details.method
        if not method.startswith(PREFIX):
            return None
        name = method[len(PREFIX) :]
        return self._handlers.get(name) or _missing(name)


def _documents(discovery: Discovery) -> Mapping[str, Any]:
    def model_ready(asked: m.ModelReadyRequest) -> Any:
        return {"ready": discovery.is_model_ready(asked.name, asked.version)}

    def model(asked: m.ModelMetadataRequest) -> Any:
        return discovery.model(asked.name, asked.version)

    def config(asked: m.ModelConfigRequest) -> Any:
        return {"config": discovery.config(asked.name, asked.version)}

    def statistics(asked: m.ModelStatisticsRequest) -> Any:
        return discovery.statistics(asked.name, asked.version)

    def index(asked: m.RepositoryIndexRequest) -> Any:
        return {"models": discovery.index(only_ready=asked.ready)}

    def load(asked: m.RepositoryModelLoadRequest) -> Any:
        name = asked.model_name or asked.repository_name
        discovery.load(name, has_parameters=bool(asked.parameters))
        return {"model_name": name, "isLoaded": True}

    def unload(asked: m.RepositoryModelUnloadRequest) -> Any:
        return discovery.unload(asked.model_name or asked.repository_name)

    return {
        "ServerLive": _handler(m.ServerLiveRequest, m.ServerLiveResponse, lambda _: {"live": True}),
        "ServerReady": _handler(
            m.ServerReadyRequest, m.ServerReadyResponse, lambda _: {"ready": discovery.is_server_ready()}
        ),
        "ModelReady": _handler(m.ModelReadyRequest, m.ModelReadyResponse, model_ready),
        "ServerMetadata": _handler(m.ServerMetadataRequest, m.ServerMetadataResponse, lambda _: discovery.server()),
        "ModelMetadata": _handler(m.ModelMetadataRequest, m.ModelMetadataResponse, model),
        "ModelConfig": _handler(m.ModelConfigRequest, m.ModelConfigResponse, config),
        "ModelStatistics": _handler(m.ModelStatisticsRequest, m.ModelStatisticsResponse, statistics),
        "RepositoryIndex": _handler(m.RepositoryIndexRequest, m.RepositoryIndexResponse, index),
        "RepositoryModelLoad": _handler(m.RepositoryModelLoadRequest, m.RepositoryModelLoadResponse, load),
        "RepositoryModelUnload": _handler(m.RepositoryModelUnloadRequest, m.RepositoryModelUnloadResponse, unload),
    }


def _handler(kind: type[Asked], answer: type[Message], document: Callable[[Asked], Any]) -> Any:
    """A unary handler that parses, asks for a document, and fills the answer from it."""

    async def handle(body: bytes, context: Context) -> bytes:
        try:
            filled = ParseDict(document(_parsed(kind, body)), answer())
        except Exception as error:  # noqa: BLE001 - refusal_of logs what nobody meant to raise
            await abort(context, refusal_of(error))
        return filled.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(handle)


def _parsed(kind: type[Asked], body: bytes) -> Asked:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise Malformed(f"the message is no {kind.DESCRIPTOR.name}") from None


def _missing(name: str) -> Any:
    async def refuse(_: bytes, context: Context) -> bytes:
        await abort(context, refusal_of(NotImplementedHere(f"the method '{name[:100]}' is not spoken here")))

    return grpc.unary_unary_rpc_method_handler(refuse)
