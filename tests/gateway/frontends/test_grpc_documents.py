"""Health, metadata, configuration, repository and reflection over gRPC."""

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from runners.oip import messages as m

Code = grpc.StatusCode


@pytest.fixture
def ask(channel):
    """Call a method by name with the fields of its request."""

    async def asked(method: str, **fields):
        kind, answer = getattr(m, f"{method}Request"), getattr(m, f"{method}Response")
        call = channel.unary_unary(f"/{m.SERVICE}/{method}", kind.SerializeToString, answer.FromString)
        return await call(kind(**fields))

    return asked


@pytest.fixture
def health(channel):
    async def asked(service: str) -> int:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        return (await check(health_pb2.HealthCheckRequest(service=service))).status

    return asked


async def code_of(call) -> Code:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_a_server_is_live_and_ready(ask, stage) -> None:
    """Readiness follows the process's word, liveness does not."""
    before = (await ask("ServerLive")).live, (await ask("ServerReady")).ready
    stage.readiness.set(False)
    after = (await ask("ServerLive")).live, (await ask("ServerReady")).ready
    assert ((True, True), (True, False)) == (before, after)


async def test_the_server_says_what_it_speaks(ask) -> None:
    """The same document as over HTTP."""
    answer = await ask("ServerMetadata")
    assert ("turnout", "1.2.3") == (answer.name, answer.version)
    assert "binary_tensor_data" in answer.extensions


async def test_a_model_tells_its_signature(ask) -> None:
    """A client can build a request from the metadata alone."""
    answer = await ask("ModelMetadata", name="ramped", version="v2")
    assert ("ramped", ["v1", "v2"], "onnx_onnxv1") == (answer.name, list(answer.versions), answer.platform)
    assert [("x", "FP32", [-1, 4])] == [(i.name, i.datatype, list(i.shape)) for i in answer.inputs]
    assert [("y", "FP32", [-1, 1])] == [(o.name, o.datatype, list(o.shape)) for o in answer.outputs]


async def test_a_configuration_says_the_same_in_triton_s_words(ask) -> None:
    """A load generator can start from the configuration."""
    config = (await ask("ModelConfig", name="plain")).config
    assert ("plain", "onnxruntime_onnx", "onnxruntime", 0) == (
        config.name,
        config.platform,
        config.backend,
        config.max_batch_size,
    )
    assert [("x", 11, [-1, 4])] == [(i.name, i.data_type, list(i.dims)) for i in config.input]


async def test_a_model_is_ready_when_its_baseline_is(ask, stage) -> None:
    """A model that is away is not ready, which is an answer and no error."""
    before = (await ask("ModelReady", name="plain")).ready
    stage.router.table.routes["plain"].baseline.endpoint.is_ready = False
    stage.quarantine("lost", "gone")
    after = (await ask("ModelReady", name="plain")).ready, (await ask("ModelReady", name="lost")).ready
    assert (True, (False, False)) == (before, after)


async def test_the_index_lists_every_version(ask) -> None:
    """Every name and version that could be asked for."""
    rows = (await ask("RepositoryIndex")).models
    assert [("mirror", "v1"), ("plain", "v1"), ("ramped", "v1"), ("ramped", "v2")] == [
        (r.name, r.version) for r in rows
    ]
    assert {"READY"} == {row.state for row in rows}


@pytest.mark.parametrize("field", ["model_name", "repository_name"])
async def test_both_dialects_of_load_are_understood(ask, field) -> None:
    """Triton's clients and KServe's put the model's name into different fields."""
    answer = await ask("RepositoryModelLoad", **{field: "plain"})
    assert ("plain", True) == (answer.model_name, answer.isLoaded)


async def test_routes_do_not_change_by_load_or_unload(ask) -> None:
    """Nobody changes a route from the side."""
    config = m.RepositoryModelLoadRequest().parameters
    config["config"].string_param = "{}"
    load = ask("RepositoryModelLoad", model_name="plain", parameters=config)
    assert Code.INVALID_ARGUMENT == await code_of(load)
    assert Code.INVALID_ARGUMENT == await code_of(ask("RepositoryModelUnload", model_name="plain"))


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelReady", "ModelStatistics"])
async def test_a_model_or_version_that_is_not_there_is_not_found(ask, method) -> None:
    """Whoever misspells a name is told that it is not there."""
    assert Code.NOT_FOUND == await code_of(ask(method, name="nobody"))
    assert Code.NOT_FOUND == await code_of(ask(method, name="plain", version="v9"))


@pytest.mark.parametrize(
    "method",
    ["TraceSetting", "LogSettings", "SystemSharedMemoryStatus", "CudaSharedMemoryRegister", "x"],
)
async def test_what_is_not_built_is_unimplemented_by_name(channel, method) -> None:
    """A client of a whole Triton can tell what is missing from what is broken."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(f"/{m.SERVICE}/{method}")(b"")
    assert (Code.UNIMPLEMENTED, True) == (caught.value.code(), method in caught.value.details())


async def test_another_service_is_unimplemented(channel) -> None:
    """Nothing answers to a name that is not ours."""
    assert Code.UNIMPLEMENTED == await code_of(channel.unary_unary("/other.Service/Method")(b""))


async def test_junk_in_a_question_is_the_caller_s_mistake(channel) -> None:
    """Questions are read as strictly as inferences."""
    assert Code.INVALID_ARGUMENT == await code_of(channel.unary_unary(f"/{m.SERVICE}/ModelMetadata")(b"\xff"))


@pytest.mark.parametrize("service", ["", m.SERVICE])
async def test_health_follows_readiness(health, stage, service) -> None:
    """A probe of the standard health service sees what the protocol's own says."""
    serving, away = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    before = await health(service)
    stage.readiness.set(False)
    assert (serving, away) == (before, await health(service))


async def test_health_of_another_service_is_not_found(health) -> None:
    """A probe with a wrong name fails, and is not told that all is well."""
    assert Code.NOT_FOUND == await code_of(health("inference.Other"))


async def reflected(channel, **question):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (answer,) = [a async for a in stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**question)]))]
    return answer


async def test_reflection_lists_all_services(channel) -> None:
    """A person with a command-line client sees what there is to call."""
    answer = await reflected(channel, list_services="")
    names = {service.name for service in answer.list_services_response.service}
    assert {
        m.SERVICE,
        "grpc.health.v1.Health",
        *("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"),
    } == names


@pytest.mark.parametrize("symbol", [m.SERVICE, "inference.ModelInferRequest", "grpc.health.v1.Health"])
async def test_reflection_describes_what_it_lists(channel, symbol) -> None:
    """The command-line client can build a request without the proto file."""
    answer = await reflected(channel, file_containing_symbol=symbol)
    (file,) = answer.file_descriptor_response.file_descriptor_proto
    described = descriptor_pb2.FileDescriptorProto.FromString(file)
    names = [f"{described.package}.{thing.name}" for thing in (*described.message_type, *described.service)]
    assert symbol in names
