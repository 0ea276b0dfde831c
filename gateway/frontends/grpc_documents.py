"""Every gRPC method but inference, filled from the same documents that HTTP sends, and the table of all methods."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message

from gateway.errors import Malformed, NotImplementedHere
from gateway.frontends.discovery import Discovery
from gateway.frontends.grpc import GrpcFrontend
from gateway.frontends.grpc_call import Answer, Body, Call, Method, Unary
from gateway.frontends.status import Refusal
from runners.oip import messages as m

PREFIX = f"/{m.SERVICE}/"
Asked = TypeVar("Asked", bound=Message)


class GrpcMethods:
    """Finds the handler of a method. What the protocol names and this server lacks is UNIMPLEMENTED with its name."""

    def __init__(self, frontend: GrpcFrontend, discovery: Discovery) -> None:
        named = {
            "ModelInfer": Method(unary=frontend.infer),
            "ModelStreamInfer": Method(streaming=frontend.stream_infer),
            **{name: Method(unary=unary) for name, unary in _documents(discovery).items()},
        }
        self._methods = {PREFIX + name: method for name, method in named.items()}
        self._frontend = frontend

    def find(self, path: str) -> Method:
        """The method of a path, or one that refuses."""
        return self._methods.get(path) or Method(unary=_missing(path.removeprefix(PREFIX)))

    def turn_away(self, error: Exception, call: Call) -> Refusal:
        """Record a call that cannot reach its method."""
        return self._frontend.turn_away(error, call)


def _documents(discovery: Discovery) -> Mapping[str, Unary]:
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


def _handler(kind: type[Asked], answer: type[Message], document: Callable[[Asked], Any]) -> Unary:
    """A method that parses, asks for a document, and fills the answer from it."""

    async def handle(body: Body, _: Call) -> Answer:
        return Answer(ParseDict(document(_parsed(kind, body)), answer()).SerializeToString())

    return handle


def _parsed(kind: type[Asked], body: Body) -> Asked:
    try:
        return kind.FromString(bytes(body))
    except DecodeError:
        raise Malformed(f"the message is no {kind.DESCRIPTOR.name}") from None


def _missing(name: str) -> Unary:
    async def refuse(_: Body, __: Call) -> Answer:
        raise NotImplementedHere(f"the method '{name[:100]}' is not spoken here")

    return refuse
