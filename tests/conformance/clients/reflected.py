"""A gRPC client that is made of nothing but what the server says of itself by reflection, as grpcurl is."""

from importlib.metadata import version

import grpc
import wire
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "inference.GRPCInferenceService"
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class Refused(Exception):
    """An answer that is not OK."""


class Client:
    def __init__(self, _: int, grpc_port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self._database = ProtoReflectionDescriptorDatabase(self._channel)
        self._service = DescriptorPool(self._database).FindServiceByName(SERVICE)

    def versions(self):
        return {"grpcio-reflection": version("grpcio-reflection"), "grpcio": version("grpcio")}

    def services(self):
        return sorted(self._database.get_services())

    def health(self, service):
        answer = health_pb2_grpc.HealthStub(self._channel).Check(health_pb2.HealthCheckRequest(service=service))
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def methods(self):
        return sorted(self._service.methods_by_name)

    def infer(self, model, inputs, how, headers=None, **job):
        request = self._request(model, inputs, how, **job)
        answer, call = self._call("ModelInfer", request, headers)
        assert [] == [each.name for each in answer.outputs if each.HasField("contents")]
        outputs = [
            {"name": each.name, "datatype": each.datatype, "shape": list(each.shape), "hex": raw.hex()}
            for each, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        ]
        parameters = {
            name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in answer.parameters.items()
        }
        given = dict(call.initial_metadata())
        return {"outputs": outputs, "parameters": parameters, "id": answer.id, "headers": given}

    def live(self):
        return self._ask("ServerLive").live

    def ready(self):
        return self._ask("ServerReady").ready

    def model_ready(self, model, version=""):
        return self._ask("ModelReady", name=model, version=version).ready

    def server(self):
        return document(self._ask("ServerMetadata"))

    def metadata(self, model, version=""):
        return document(self._ask("ModelMetadata", name=model, version=version))

    def config(self, model):
        return document(self._ask("ModelConfig", name=model).config)

    def index(self):
        return document(self._ask("RepositoryIndex"))["models"]

    def statistics(self, model):
        return document(self._ask("ModelStatistics", name=model))

    def load(self, model):
        return document(self._ask("RepositoryModelLoad", model_name=model))

    def unload(self, model):
        return document(self._ask("RepositoryModelUnload", model_name=model))

    def _ask(self, method, **fields):
        kind = message_factory.GetMessageClass(self._service.methods_by_name[method].input_type)
        return self._call(method, kind(**fields), None)[0]

    def _call(self, method, request, headers):
        kind = message_factory.GetMessageClass(self._service.methods_by_name[method].output_type)
        call = self._channel.unary_unary(f"/{SERVICE}/{method}", type(request).SerializeToString, kind.FromString)
        try:
            return call.with_call(request, metadata=tuple((headers or {}).items()), timeout=30)
        except grpc.RpcError as error:
            raise Refused(f"{error.code().name} {error.details()}") from None

    def _request(self, model, inputs, how, outputs=None, request_id="", version="", parameters=None, timeout_us=None):
        kind = message_factory.GetMessageClass(self._service.methods_by_name["ModelInfer"].input_type)
        request = kind(model_name=model, model_version=version, id=request_id)
        for tensor in inputs:
            wanted = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
            if how == "raw":
                request.raw_input_contents.append(bytes.fromhex(tensor["hex"]))
            else:
                getattr(wanted.contents, CONTENTS[tensor["datatype"]]).extend(wire.values_of(tensor))
        for name in outputs or ():
            request.outputs.add(name=name)
        for name, value in (parameters or {}).items():
            kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
            setattr(request.parameters[name], kinds[type(value)], value)
        if timeout_us is not None:
            request.parameters["timeout"].int64_param = timeout_us
        return request


def document(message):
    """A message as JSON has it, under the protocol's own names, with whatever is at its default."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


if __name__ == "__main__":
    wire.run(Client)
