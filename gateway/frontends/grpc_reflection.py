"""Server reflection, by which a client without our .proto file learns what there is to call.

grpcio-reflection finds the answers. Version 1 is version 1alpha under another name, message by message.

Source: gRPC Server Reflection Protocol, github.com/grpc/grpc, doc/server-reflection.md.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import ReflectionServicer

from gateway.errors import Malformed
from gateway.frontends import grpc_health
from gateway.frontends.grpc_call import Body, Call, Method
from runners.oip.messages import SERVICE, load_pool

ALPHA: Final = "grpc.reflection.v1alpha"
STABLE: Final = "grpc.reflection.v1"
NAMES: Final = tuple(f"{package}.ServerReflection" for package in (ALPHA, STABLE))


class Reflection:
    """Describes every service of this server, itself included."""

    def __init__(self) -> None:
        self._servicer = ReflectionServicer((SERVICE, grpc_health.NAME, *NAMES), pool=_pool())

    def methods(self) -> Mapping[str, Method]:
        """By their paths."""
        return {f"/{name}/ServerReflectionInfo": Method(streaming=self.answer) for name in NAMES}

    async def answer(self, bodies: AsyncGenerator[Body, None], _: Call) -> AsyncGenerator[bytes, None]:
        async for body in bodies:
            try:
                asked = reflection_pb2.ServerReflectionRequest.FromString(bytes(body))
            except DecodeError:
                raise Malformed("the message is no ServerReflectionRequest") from None
            for answer in self._servicer.ServerReflectionInfo((asked,), None):
                yield answer.SerializeToString()


def _pool() -> Any:
    """The protocol's file beside those of the other services, so that all can be described."""
    pool = load_pool()
    pool.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(reflection_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_stable().SerializeToString())
    return pool


def _stable() -> FileDescriptorProto:
    """The file of version 1, made of the other's."""
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = STABLE
    typed = [field for message in file.message_type for field in message.field if field.type_name]
    for field in typed:
        field.type_name = field.type_name.replace(f".{ALPHA}.", f".{STABLE}.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(f".{ALPHA}.", f".{STABLE}.")
        method.output_type = method.output_type.replace(f".{ALPHA}.", f".{STABLE}.")
    return file
