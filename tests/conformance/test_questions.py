"""What clients ask besides inference: health, metadata, configuration, the repository, reflection."""

import pytest

STOCK = ("triton_http", "triton_http_aio", "triton_grpc", "triton_grpc_aio")
ASKING = (*STOCK, "curl", "reflected")  # KServe's clients ask for health and inference alone
FORMS = {"HTTP": "binary", "gRPC": "raw"}
asking = pytest.mark.parametrize("client", ASKING, indirect=True)


@pytest.mark.parametrize("question", ["live", "ready"])
def test_the_server_is_live_and_ready(client, question):
    """Every client's probe is understood."""
    assert client.ask(question) is True


def test_a_model_is_ready(client):
    """A client that waits for a model knows when to stop."""
    assert client.ask("model_ready", model="digits-canary") is True


def test_a_model_that_is_not_there_is_not_ready(client, outcome):
    """Some clients say False, others raise with the server's words."""
    said = outcome(client, "model_ready", model="nobody")
    assert said is False or "no model 'nobody'" in said


@asking
def test_the_server_says_what_it_is(client):
    """The extensions that a client may count on are named."""
    said = client.ask("server")
    assert ("turnout", True) == (said["name"], "binary_tensor_data" in said["extensions"])


@asking
@pytest.mark.parametrize("version", ["", "v1", "v2"])
def test_metadata_is_the_model_s_signature(client, version):
    """A request can be built from it, for the model as a whole and for each version."""
    said = client.ask("metadata", model="pair-ab", version=version)
    assert ("pair-ab", ["v1", "v2"], "onnx_onnxv1") == (said["name"], said["versions"], said["platform"])
    assert [("a", "FP32", [-1, 2]), ("b", "INT64", [-1])] == specs(said["inputs"], "datatype", "shape")
    assert [("c", "FP32", [-1, 2]), ("d", "INT64", [-1])] == specs(said["outputs"], "datatype", "shape")


@asking
def test_configuration_is_the_signature_in_triton_s_words(client):
    """A load generator finds its tensors, and no dimension that is taken away for a batch."""
    said = client.ask("config", model="text-canary")
    assert ("text-canary", "onnxruntime", 0) == (said["name"], said["backend"], int(said.get("max_batch_size", 0)))
    assert [("x", "TYPE_STRING", [-1])] == specs(said["input"], "data_type", "dims")


@asking
def test_the_index_lists_every_route_and_version(client, cases):
    """A client finds all that can be asked for, and that it is ready."""
    rows = {(row["name"], row["version"], row["state"]) for row in client.ask("index")}
    models = {case["model"] for case in cases}
    assert set() == {(f"{model}-canary", version, "READY") for model in models for version in ("v1", "v2")} - rows


@asking
def test_loading_a_live_model_is_fine(client):
    """A client that loads before it asks is not stopped."""
    client.ask("load", model="digits-ab")


@asking
def test_unloading_is_refused_in_words(client, outcome):
    """Nobody takes a route away from the side, and the client's exception says why."""
    assert "routes change by publishing" in outcome(client, "unload", model="digits-ab")


@asking
def test_statistics_count_calls_and_rows(client, case):
    """A load generator sees how much its requests came to."""
    before = counts(client.ask("statistics", model="digits-baseline"))
    client.ask("infer", model="digits-baseline", inputs=case("digits", "7 rows")["inputs"], how=FORMS[client.transport])
    after = counts(client.ask("statistics", model="digits-baseline"))
    grown = [(new[0], new[1] - old[1], new[2] - old[2]) for old, new in zip(before, after, strict=True) if new != old]
    assert [("v1", 7, 1)] == grown


@pytest.mark.parametrize("client", ["reflected"], indirect=True)
def test_reflection_names_every_service_and_method(client):
    """A tool that knows nothing finds the protocol, health, and reflection in both its versions."""
    reflection = [f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")]
    assert ["grpc.health.v1.Health", *reflection, "inference.GRPCInferenceService"] == client.ask("services")
    assert {"ModelInfer", "ModelStreamInfer", "ModelMetadata", "RepositoryIndex"} <= set(client.ask("methods"))


@pytest.mark.parametrize("client", ["reflected"], indirect=True)
@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
def test_grpc_health_is_serving(client, service):
    """A probe of gRPC's own kind is understood too."""
    assert "SERVING" == client.ask("health", service=service)


def specs(tensors, datatype, shape):
    """Name, datatype and dimensions; protobuf's JSON writes 64-bit integers as text."""
    return [(tensor["name"], tensor[datatype], [int(size) for size in tensor[shape]]) for tensor in tensors]


def counts(said):
    """Version, rows and calls of each row; protobuf's JSON leaves out what is 0."""
    names = ("inference_count", "execution_count")
    return [(row["version"], *(int(row.get(name, 0)) for name in names)) for row in said["model_stats"]]
