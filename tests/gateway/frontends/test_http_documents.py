"""Health, metadata, configuration and the repository, over HTTP."""

import pytest
from msgspec.structs import replace

from observability.event import Call, RequestEvent
from runners.core.runner import Description
from runners.core.tensor import Signature, TensorSpec


async def test_a_live_server_says_so_in_json(stage) -> None:
    """A client that reads the body of the probe finds what it looks for."""
    reply = await stage.ask("GET", "/v2/health/live")
    assert (200, {"live": True}) == (reply.status, reply.json())


async def test_a_ready_server_says_so_in_json(stage) -> None:
    """The same for readiness."""
    reply = await stage.ask("GET", "/v2/health/ready")
    assert (200, {"ready": True}) == (reply.status, reply.json())


async def test_a_server_that_wants_no_traffic_is_503(stage) -> None:
    """A load balancer takes a stopping gateway out before it is gone, and it stays alive meanwhile."""
    stage.readiness.set(False)
    ready, live = await stage.ask("GET", "/v2/health/ready"), await stage.ask("GET", "/v2/health/live")
    assert (503, "the server is not ready", 200) == (ready.status, ready.error, live.status)


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
async def test_the_server_says_what_it_speaks(stage, path) -> None:
    """Only extensions that are there are named."""
    document = (await stage.ask("GET", path)).json()
    assert ("turnout", "1.2.3") == (document["name"], document["version"])
    assert ["binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"] == document[
        "extensions"
    ]


async def test_all_models_are_listed(stage) -> None:
    """A person can see which names there are, those that are broken too."""
    stage.quarantine("lost", "the file is gone")
    assert {"models": ["lost", "mirror", "plain", "ramped"]} == (await stage.ask("GET", "/v2/models")).json()


async def test_a_model_tells_its_signature(stage) -> None:
    """A client can build a request from the metadata alone."""
    assert {
        "name": "ramped",
        "versions": ["v1", "v2"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    } == (await stage.ask("GET", "/v2/models/ramped")).json()


async def test_a_version_tells_its_own_signature(stage, make_endpoint) -> None:
    """Where two versions differ, each says what it takes."""
    wide = Signature((TensorSpec("x", "FP64", (-1, 9)),), ())
    stage.route("both", make_endpoint("hang", "v1"), make_endpoint("hang", "v2", wide))
    document = (await stage.ask("GET", "/v2/models/both/versions/v2")).json()
    assert [{"name": "x", "datatype": "FP64", "shape": [-1, 9]}] == document["inputs"]


async def test_a_configuration_says_the_same_in_triton_s_words(stage) -> None:
    """A load generator that reads the configuration gets every dimension, with none taken away for a batch."""
    assert {
        "name": "plain",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1, 1]}],
    } == (await stage.ask("GET", "/v2/models/plain/config")).json()


async def test_a_configuration_calls_bytes_a_string(stage) -> None:
    """Triton has a word of its own for BYTES."""
    document = (await stage.ask("GET", "/v2/models/mirror/config")).json()
    assert "TYPE_STRING" == next(spec["data_type"] for spec in document["input"] if spec["name"] == "BYTES")


async def test_a_model_that_is_not_onnx_says_what_it_is(stage) -> None:
    """A constant does not pass itself off as a network."""
    endpoint = stage.router.table.routes["plain"].baseline.endpoint
    endpoint.description = Description(endpoint.description.signature, "constant", "v1", "", "cpu")
    config, model = await stage.ask("GET", "/v2/models/plain/config"), await stage.ask("GET", "/v2/models/plain")
    assert ("constant", "constant") == (config.json()["platform"], model.json()["platform"])


@pytest.mark.parametrize("path", ["/v2/models/plain/ready", "/v2/models/plain/versions/v1/ready"])
async def test_a_ready_model_says_so(stage, path) -> None:
    """A client that waits for a model knows when to stop."""
    assert {"name": "plain", "ready": True} == (await stage.ask("GET", path)).json()


async def test_a_model_is_ready_when_its_baseline_is(stage) -> None:
    """A candidate that broke does not take the route down; a baseline does."""
    baseline, candidate = (bound.endpoint for bound in stage.router.table.routes["ramped"].arms)
    candidate.is_ready = False
    without_candidate = (await stage.ask("GET", "/v2/models/ramped/ready")).status
    baseline.is_ready = False
    without_baseline = (await stage.ask("GET", "/v2/models/ramped/ready")).status
    assert (200, 503) == (without_candidate, without_baseline)


async def test_a_model_that_could_not_be_opened_is_not_ready(stage) -> None:
    """Quarantine shows in readiness, and metadata gives the reason."""
    stage.quarantine("lost", "the file is gone")
    ready, model = await stage.ask("GET", "/v2/models/lost/ready"), await stage.ask("GET", "/v2/models/lost")
    assert (503, 503) == (ready.status, model.status)
    assert "the file is gone" in model.error


async def test_the_index_lists_every_version_and_its_state(stage) -> None:
    """An empty body, as stock clients send it, means everything."""
    stage.router.table.routes["ramped"].arms[1].endpoint.is_ready = False
    stage.quarantine("lost", "the file is gone")
    assert [
        {"name": "mirror", "version": "v1", "state": "READY", "reason": ""},
        {"name": "plain", "version": "v1", "state": "READY", "reason": ""},
        {"name": "ramped", "version": "v1", "state": "READY", "reason": ""},
        {"name": "ramped", "version": "v2", "state": "UNAVAILABLE", "reason": "not ready"},
        {"name": "lost", "version": "", "state": "UNAVAILABLE", "reason": "the file is gone"},
    ] == (await stage.ask("POST", "/v2/repository/index")).json()


async def test_the_index_can_be_of_ready_models_alone(stage) -> None:
    """Who wants to choose sees only what can be chosen."""
    stage.quarantine("lost", "the file is gone")
    rows = (await stage.ask("POST", "/v2/repository/index", b'{"ready":true}')).json()
    assert {"mirror", "plain", "ramped"} == {row["name"] for row in rows}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters":{}}'])
async def test_loading_a_live_model_checks_it(stage, body) -> None:
    """A client that loads before it asks finds that it may ask."""
    reply = await stage.ask("POST", "/v2/repository/models/plain/load", body)
    assert (200, {"name": "plain", "load": True}) == (reply.status, reply.json())


async def test_loading_a_model_that_is_not_ready_fails(stage) -> None:
    """Load does not say yes to a model that would not answer."""
    stage.router.table.routes["plain"].baseline.endpoint.is_ready = False
    assert 503 == (await stage.ask("POST", "/v2/repository/models/plain/load")).status


async def test_loading_with_files_or_a_configuration_is_refused(stage) -> None:
    """Nobody changes a route from the side."""
    reply = await stage.ask("POST", "/v2/repository/models/plain/load", b'{"parameters":{"config":"{}"}}')
    assert 400 == reply.status
    assert "routes change by publishing" in reply.error


async def test_unloading_is_refused(stage) -> None:
    """A client cannot take a route away."""
    reply = await stage.ask("POST", "/v2/repository/models/plain/unload", b'{"parameters":{"unload_dependents":false}}')
    assert 400 == reply.status
    assert "routes change by publishing" in reply.error


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready":"yes"}', b"\xff", b"[" * 5000])
async def test_junk_in_a_question_is_400(stage, body) -> None:
    """Questions are read as strictly as inferences."""
    assert 400 == (await stage.ask("POST", "/v2/repository/index", body)).status


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/nothing",
        "/v2/models/plain/nothing",
        "/v2/models/nobody",
        "/v2/models/nobody/ready",
        "/v2/models/nobody/config",
        "/v2/models/plain/versions/v9",
        "/v2/models/plain/versions/v9/ready",
        "/v2/health",
        "/../etc/passwd",
    ],
)
async def test_what_is_not_there_is_404(stage, path) -> None:
    """Every path gives an answer that a client can read."""
    reply = await stage.ask("GET", path)
    assert 404 == reply.status
    assert reply.error


@pytest.mark.parametrize("path", ["/v2/repository/models/nobody/load", "/v2/repository/models/nobody/unload"])
async def test_a_model_to_load_that_is_not_there_is_404(stage, path) -> None:
    """A misspelt name is told apart from one that may not change."""
    assert 404 == (await stage.ask("POST", path)).status


@pytest.mark.parametrize(
    "path",
    [
        "/v2/trace/setting",
        "/v2/models/plain/trace/setting",
        "/v2/logging",
        "/v2/systemsharedmemory/status",
        "/v2/systemsharedmemory/region/r/register",
        "/v2/cudasharedmemory/status",
        "/v2/models/plain/generate",
        "/v2/models/plain/generate_stream",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_not_built_is_501(stage, path, method) -> None:
    """A client of a whole Triton can tell what is missing from what is broken."""
    reply = await stage.ask(method, path)
    assert 501 == reply.status
    assert reply.error


@pytest.mark.parametrize("path", ["/v2", "/v2/health/ready", "/v2/models/plain", "/v2/models/plain/config"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_wrong_verb_names_the_right_ones(stage, path, method) -> None:
    """Reading is by GET."""
    reply = await stage.ask(method, path)
    assert (405, b"GET, HEAD") == (reply.status, reply.headers[b"allow"])


async def test_a_question_s_body_is_bounded(stage) -> None:
    """Nobody fills the memory through a question."""
    reply = await stage.ask("POST", "/v2/repository/index", headers={"content-length": str(1 << 40)})
    assert (413, b"close") == (reply.status, reply.headers[b"connection"])


async def test_questions_are_not_recorded(stage) -> None:
    """Probes leave no events."""
    await stage.ask("GET", "/v2/health/ready")
    assert [] == stage.records


async def test_statistics_count_what_was_answered(stage) -> None:
    """Whoever watches a Triton finds the same figures at the same place: rows, calls, time, and the last moment."""
    meter = stage.router.table.routes["plain"].meter
    call = Call("plain-0", "", "", "cpu", "serve", "ok", "", 0.0, 2.0)
    for _ in range(3):
        meter.record(RequestEvent(1.5, "e", "r", calls=(call,), answered_arm="plain-0", status="ok", rows=2))
    meter.record(RequestEvent(2.5, "e", "r", calls=(replace(call, cause="error", duration_ms=8.0),), status="error"))
    (row,) = (await stage.ask("GET", "/v2/models/plain/stats")).json()["model_stats"]

    assert ("plain", "v1", 6, 3) == (row["name"], row["version"], row["inference_count"], row["execution_count"])
    assert {"count": 3, "ns": 6_000_000} == row["inference_stats"]["success"]
    assert {"count": 1, "ns": 8_000_000} == row["inference_stats"]["fail"]
    assert 2500 == row["last_inference"]


async def test_statistics_of_all_models_list_every_version(stage) -> None:
    """One question tells of every model; a version asked for comes alone, and one that is not there is 404."""
    rows = (await stage.ask("GET", "/v2/models/stats")).json()["model_stats"]
    assert {"plain", "ramped"} <= {row["name"] for row in rows}
    (row,) = (await stage.ask("GET", "/v2/models/ramped/versions/v2/stats")).json()["model_stats"]
    assert "v2" == row["version"]
    assert 404 == (await stage.ask("GET", "/v2/models/plain/versions/v9/stats")).status
    assert 404 == (await stage.ask("GET", "/v2/models/nobody/stats")).status
