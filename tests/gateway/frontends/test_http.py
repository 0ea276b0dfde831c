"""Inference over HTTP in JSON: what goes in, what comes back, what is recorded."""

import asyncio

import numpy as np
import pytest

from runners.core.errors import ExecutionFailed, InvalidInput, NotReady, Overloaded
from runners.core.tensor import InferenceResponse, Tensor

VALUES = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP32": [0.5, -1.25],
    "FP64": [0.1, 1e300],
    "BYTES": ["a\u0000b", "\U0001f600"],
}


async def test_an_inference_answers_in_the_protocol_s_form(stage, make_tensor) -> None:
    """A client gets its outputs under the model's name, with its id."""
    reply = await stage.infer("plain", {"id": "a1", "inputs": [make_tensor()]})
    document = reply.json()
    assert (200, b"application/json") == (reply.status, reply.headers[b"content-type"])
    assert ("plain", "v1", "a1") == (document["model_name"], document["model_version"], document["id"])
    assert [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}] == document["outputs"]


async def test_the_model_gets_what_was_sent(stage, make_tensor) -> None:
    """Names, shapes and values arrive as they were written, nested or flat."""
    endpoint = stage.router.table.routes["plain"].baseline.endpoint
    await stage.infer("plain", {"inputs": [make_tensor(data=[[1, 2, 3, 4.5]])], "parameters": {"k": 1}})
    (request,) = endpoint.seen
    assert ("plain", "x", (1, 4)) == (request.model, request.inputs[0].name, request.inputs[0].shape)
    assert [1.0, 2.0, 3.0, 4.5] == request.inputs[0].array.ravel().tolist()
    assert {"k": 1} == request.parameters


@pytest.mark.parametrize("datatype", VALUES)
async def test_every_datatype_of_json_goes_both_ways(stage, make_tensor, datatype) -> None:
    """What a model gives back is what it was given, at the edges of each type."""
    values = VALUES[datatype]
    reply = await stage.infer("mirror", {"inputs": [make_tensor(datatype, values, [2], datatype)]})
    assert [{"name": datatype, "datatype": datatype, "shape": [2], "data": values}] == reply.json()["outputs"]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
async def test_half_precision_has_no_json_form(stage, make_tensor, datatype) -> None:
    """Half-precision tensors are refused in JSON, with a word about what to do instead."""
    reply = await stage.infer("mirror", {"inputs": [make_tensor(datatype, [1.0], [1], datatype)]})
    assert 400 == reply.status
    assert "binary" in reply.error


async def test_an_output_without_a_json_form_must_be_asked_for_in_binary(stage, make_endpoint, make_tensor) -> None:
    """A half-precision output must be asked for in binary, and the error says so."""
    half = InferenceResponse((Tensor("y", "FP16", np.ones(1, np.float16)),))
    stage.route("half", make_endpoint(lambda _: half, "v1"))
    reply = await stage.infer("half", {"inputs": [make_tensor()]})
    assert 400 == reply.status
    assert "binary" in reply.error


async def test_what_is_not_a_number_is_null_in_json(stage, make_endpoint, make_tensor) -> None:
    """NaN and Inf, which JSON cannot spell, come back as null, which every client can read."""
    odd = InferenceResponse((Tensor("y", "FP32", np.array([np.nan, np.inf, 1.0], np.float32)),))
    stage.route("odd", make_endpoint(lambda _: odd, "v1"))
    reply = await stage.infer("odd", {"inputs": [make_tensor()]})
    assert [None, None, 1.0] == reply.json()["outputs"][0]["data"]


async def test_no_id_is_answered_when_none_was_given(stage, make_tensor) -> None:
    """An id is an echo, not an invention."""
    assert "id" not in (await stage.infer("plain", {"inputs": [make_tensor()]})).json()


async def test_an_id_that_is_null_counts_as_none(stage, make_tensor) -> None:
    """Clients that always send the field are welcome."""
    assert "id" not in (await stage.infer("plain", {"id": None, "inputs": [make_tensor()]})).json()


async def test_unknown_fields_are_tolerated(stage, make_tensor) -> None:
    """A client that sends more than the protocol has, as KServe's does, is served."""
    body = {"model_name": "other", "more": {"deep": [1]}, "inputs": [make_tensor() | {"extra": 1}]}
    assert 200 == (await stage.infer("plain", body)).status


async def test_outputs_come_as_asked(stage, make_tensor) -> None:
    """A client that names outputs gets those, in its own order."""
    inputs = [make_tensor("FP32", [1.0], [1], "FP32"), make_tensor("INT8", [2], [1], "INT8")]
    reply = await stage.infer("mirror", {"inputs": inputs, "outputs": [{"name": "INT8"}, {"name": "FP32"}]})
    assert ["INT8", "FP32"] == [output["name"] for output in reply.json()["outputs"]]


async def test_an_output_asked_for_twice_is_refused(stage, make_tensor) -> None:
    """A request that contradicts itself is not guessed at."""
    reply = await stage.infer("plain", {"inputs": [make_tensor()], "outputs": [{"name": "y"}, {"name": "y"}]})
    assert (400, "an output is asked for twice") == (reply.status, reply.error)


async def test_the_request_id_of_the_header_is_echoed(stage, make_tensor) -> None:
    """A caller finds its own id in the response's header."""
    reply = await stage.infer("plain", {"inputs": [make_tensor()]}, {"x-request-id": "r-77"})
    assert b"r-77" == reply.headers[b"x-request-id"]


async def test_errors_carry_the_request_id_too(stage) -> None:
    """Somebody who reports an error can quote an id that the operator finds."""
    reply = await stage.infer("plain", b"{", {"x-request-id": "r-78"})
    assert (400, b"r-78") == (reply.status, reply.headers[b"x-request-id"])


async def test_a_version_in_the_path_pins_the_arm(stage, make_tensor) -> None:
    """Who asks for an exact version gets it, and it is said to be so."""
    reply = await stage.infer("ramped/versions/v1", {"inputs": [make_tensor()]})
    assert ("v1", "pinned") == (reply.json()["model_version"], reply.json()["parameters"]["turnout_reason"])


async def test_a_path_may_end_in_a_slash(stage, make_tensor) -> None:
    """A slash too many is no reason to refuse an inference."""
    document = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'
    assert 200 == (await stage.ask("POST", "/v2/models/plain/infer/", document)).status


@pytest.mark.parametrize("model", ["nobody", "plain/versions/v9", "", "plain/versions", "a/b", "plain/versions/v1/x"])
async def test_a_model_or_version_that_is_not_there_is_404(stage, make_tensor, model) -> None:
    """Whoever misspells a name is told that it is not there."""
    reply = await stage.infer(model, {"inputs": [make_tensor()]})
    assert 404 == reply.status
    assert reply.error


async def test_a_route_that_could_not_be_opened_is_503(stage, make_tensor) -> None:
    """A model that is known and away says why, and when to come again."""
    stage.quarantine("lost", "the file is gone")
    reply = await stage.infer("lost", {"inputs": [make_tensor()]})
    assert (503, b"1") == (reply.status, reply.headers[b"retry-after"])
    assert "the file is gone" in reply.error


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (InvalidInput("x must have 4 columns"), 400),
        (Overloaded("the queue is full"), 429),
        (ExecutionFailed("division by zero"), 500),
        (NotReady("still loading"), 503),
    ],
)
async def test_what_a_model_fails_with_has_its_status(stage, make_endpoint, make_tensor, failure, status) -> None:
    """A client can tell its own mistake from the model's, and both from overload."""
    stage.route("failing", make_endpoint(failure, "v1"))
    reply = await stage.infer("failing", {"inputs": [make_tensor()]})
    assert (status, str(failure)) == (reply.status, reply.error)
    assert (status in (429, 503)) == (b"retry-after" in reply.headers)


async def test_a_defect_is_a_500_without_details(stage, make_endpoint, make_tensor) -> None:
    """A bug in the gateway answers in the protocol's form and shows nothing of the inside."""
    wrong = InferenceResponse(("not a tensor",))  # type: ignore[arg-type]
    stage.route("buggy", make_endpoint(lambda _: wrong, "v1"))
    reply = await stage.infer("buggy", {"inputs": [make_tensor()]})
    assert (500, "internal error", "internal") == (reply.status, reply.error, stage.records[-1].reply.code)


async def test_the_timeout_header_bounds_the_call(stage, make_tensor) -> None:
    """A caller's budget in milliseconds is the model's deadline."""
    endpoint = stage.router.table.routes["plain"].baseline.endpoint
    await stage.infer("plain", {"inputs": [make_tensor()]}, {"x-request-timeout-ms": "250"})
    assert 0.25 == pytest.approx(endpoint.deadlines[0] - stage.records[0].arrival.started_at)


async def test_the_protocol_s_timeout_bounds_the_call(stage, make_tensor) -> None:
    """The V2 parameter counts in microseconds."""
    endpoint = stage.router.table.routes["plain"].baseline.endpoint
    await stage.infer("plain", {"inputs": [make_tensor()], "parameters": {"timeout": 250_000}})
    assert 0.25 == pytest.approx(endpoint.deadlines[0] - stage.records[0].arrival.started_at)


async def test_a_timeout_that_cannot_be_read_is_refused(stage, make_tensor) -> None:
    """A budget that was meant and mistyped is not silently dropped."""
    reply = await stage.infer("plain", {"inputs": [make_tensor()]}, {"x-request-timeout-ms": "soon"})
    assert 400 == reply.status
    assert "x-request-timeout-ms" in reply.error


async def test_time_that_runs_out_is_504(stage, make_endpoint, make_tensor) -> None:
    """A model that hangs costs a caller no more than the budget."""
    stage.route("slow", make_endpoint("hang", "v1"))
    reply = await stage.infer("slow", {"inputs": [make_tensor()]}, {"x-request-timeout-ms": "5"})
    assert 504 == reply.status


async def test_no_fallback_where_none_is_wanted(stage, make_endpoint, make_tensor) -> None:
    """A caller that would rather have the error gets it."""
    stage.route("broken", make_endpoint(lambda _: None, "v1"), make_endpoint(ExecutionFailed("no"), "v2"))
    reply = await stage.infer("broken", {"inputs": [make_tensor()]}, {"x-turnout-fallback": "never"})
    assert (500, "no") == (reply.status, reply.error)


async def test_forcing_an_arm_needs_the_token(stage, make_tensor) -> None:
    """Nobody chooses an arm who is not trusted to."""
    asked = {"x-turnout-arm": "ramped-0"}
    refused = await stage.infer("ramped", {"inputs": [make_tensor()]}, asked)
    forced = await stage.infer("ramped", {"inputs": [make_tensor()]}, asked | {"x-turnout-override-token": "secret"})
    assert (403, 200, b"ramped-0") == (refused.status, forced.status, forced.headers[b"x-turnout-arm"])


async def test_an_answer_is_recorded_once_with_its_sizes(stage, make_tensor) -> None:
    """What happened to a request is written down exactly once."""
    reply = await stage.infer("plain", {"inputs": [make_tensor()]}, {"x-turnout-unit": "u1"})
    (record,) = stage.records
    assert ("ok", 200, len(reply.body)) == (record.reply.code, record.reply.http_status, record.reply.response_bytes)
    assert ("http", "10.0.0.9", "u1") == (record.arrival.protocol, record.arrival.caller, record.routed.facts.unit)
    assert record.reply.request_bytes > 0


async def test_a_refusal_before_routing_is_recorded_without_a_route(stage) -> None:
    """Junk leaves a trace too."""
    await stage.infer("plain", b"junk")
    (record,) = stage.records
    assert (None, None, "malformed", 400) == (
        record.routed,
        record.outcome,
        record.reply.code,
        record.reply.http_status,
    )


async def test_a_failure_after_routing_is_recorded_with_its_route(stage, make_endpoint, make_tensor) -> None:
    """A failing model's calls are in the record, its error's text as well."""
    stage.route("failing", make_endpoint(ExecutionFailed("division by zero"), "v1"))
    await stage.infer("failing", {"inputs": [make_tensor()]})
    (record,) = stage.records
    assert ("error", "division by zero", "failing", 1) == (
        record.reply.code,
        record.reply.error,
        record.routed.route.name,
        len(record.outcome.observations),
    )


async def test_a_call_that_is_cancelled_is_recorded_and_frees_the_model(stage, make_endpoint, make_tensor) -> None:
    """Work for somebody who has gone stops, and the event says so."""
    endpoint = make_endpoint("hang", "v1")
    stage.route("slow", endpoint)
    task = asyncio.create_task(stage.infer("slow", {"inputs": [make_tensor()]}))
    await endpoint.began.wait()
    task.cancel()
    reply = await task
    (record,) = stage.records
    assert (True, "cancelled") == (endpoint.was_cancelled, record.reply.code)
    assert (503, "the server is stopping") == (reply.status, reply.error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"inputs":{}}',
        b'{"inputs":[{"name":"x"}]}',
        b'{"inputs":[{"name":1,"shape":[1],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP31","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[-1],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[1.5],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[4294967296,4294967296],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[4611686018427387904],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1e400]}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[128]}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[' + b"9" * 5000 + b"]}]}",
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["\xff"]}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["\\ud800"]}]}',
        b'{"inputs":[],"id":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"inputs":[],"more":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"inputs":[],"parameters":{"a":null}}',
        b'{"inputs":[],"parameters":{"a":[1]}}',
        b'{"inputs":[],"id":7}',
        b'{"inputs":[],"id":"' + b"x" * 20_000 + b'"}',
        b'\xef\xbb\xbf{"inputs":[]}',
        b'{"inputs":[]}{"inputs":[]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}}]}',
        b'{"inputs":[],"parameters":{"binary_data_output":1}}',
        b'{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":"yes"}}]}',
    ],
)
async def test_junk_is_a_400_in_the_protocol_s_form(stage, body) -> None:
    """Whatever is wrong with a body, the caller reads what, and the server is not hurt."""
    reply = await stage.infer("mirror", body)
    assert 400 == reply.status
    assert 0 < len(reply.error) <= 1000


async def test_the_last_of_duplicate_keys_counts(stage, make_tensor) -> None:
    """A key that is there twice is read once, the last time, wherever it stands."""
    reply = await stage.infer(
        "plain", b'{"id":"a","id":"b","inputs":[{"name":"x","shape":[0,4],"datatype":"FP32","data":[]}]}'
    )
    assert (200, "b") == (reply.status, reply.json()["id"])


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"shared_memory_region": "r"}}]},
        {"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        {"inputs": [], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
    ],
)
async def test_extensions_that_are_not_here_are_501(stage, body) -> None:
    """A client that relies on more than there is learns it at once."""
    assert 501 == (await stage.infer("plain", body)).status


async def test_a_tensor_too_long_for_json_is_refused_before_it_is_read(stage) -> None:
    """A million elements in JSON would cost forty megabytes; the caller is told to send them in binary."""
    data = b",".join([b"0." + b"0" * 90] * 20_000)
    body = b'{"inputs":[{"name":"x","shape":[20000],"datatype":"FP32","data":[' + data + b"]}]}"
    stage.http._limits = type(stage.http._limits)(body_bytes=4 << 20, json_elements=1 << 10)
    reply = await stage.infer("mirror", body)
    assert 413 == reply.status
    assert "binary" in reply.error


@pytest.mark.parametrize("path", ["/v2/models/plain/infer", "/v2/models/plain/versions/v1/infer"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_verb_is_405_with_the_right_one(stage, path, method) -> None:
    """Whoever opens the infer path in a browser reads which verb it takes."""
    reply = await stage.ask(method, path)
    assert (405, b"POST") == (reply.status, reply.headers[b"allow"])
    assert [] == stage.records
