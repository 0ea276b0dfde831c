"""Inference over gRPC, on a real channel with the messages of our own."""

import asyncio
import gzip

import grpc
import numpy as np
import pytest

from runners.core.errors import ExecutionFailed, InvalidInput, NotReady, Overloaded
from runners.core.tensor import DATATYPES
from runners.oip.messages import SERVICE, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse

Code = grpc.StatusCode


def request(model: str = "plain", **fields) -> ModelInferRequest:
    message = ModelInferRequest(model_name=model, **fields)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(np.arange(4, dtype=np.float32).tobytes())
    return message


@pytest.fixture
def infer(channel):
    return channel.unary_unary(
        f"/{SERVICE}/ModelInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString
    )


@pytest.fixture
def send(channel):
    """ModelInfer with bytes as they stand."""
    return channel.unary_unary(f"/{SERVICE}/ModelInfer")


@pytest.fixture
def stream(channel):
    return channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer", ModelInferRequest.SerializeToString, ModelStreamInferResponse.FromString
    )


async def refused(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_an_inference_answers_raw(infer) -> None:
    """Every client reads raw outputs, so that is what every client gets."""
    answer = await infer(request(id="a1"))
    (output,) = answer.outputs
    assert ("plain", "v1", "a1") == (answer.model_name, answer.model_version, answer.id)
    assert ("y", "FP32", [1, 1], False) == (
        output.name,
        output.datatype,
        list(output.shape),
        output.HasField("contents"),
    )
    assert [np.float32(1.0).tobytes()] == list(answer.raw_output_contents)


@pytest.mark.parametrize("datatype", DATATYPES)
async def test_every_datatype_goes_both_ways_bit_by_bit(infer, datatype) -> None:
    """A tensor comes back from an identity model exactly as it was sent."""
    size = DATATYPES[datatype].itemsize
    raw = b"\x03\0\0\0a\0b" if datatype == "BYTES" else b"\x01" if datatype == "BOOL" else bytes(range(1, size + 1))
    message = ModelInferRequest(model_name="mirror", raw_input_contents=[raw])
    message.inputs.add(name=datatype, datatype=datatype, shape=[1])
    answer = await infer(message)
    assert (datatype, [raw]) == (answer.outputs[0].datatype, list(answer.raw_output_contents))


async def test_an_empty_tensor_has_an_entry_of_its_own(infer) -> None:
    """Entries and outputs stay in step when one has no bytes."""
    message = ModelInferRequest(model_name="mirror", raw_input_contents=[b"", b"\x07"])
    message.inputs.add(name="FP32", datatype="FP32", shape=[0, 4])
    message.inputs.add(name="UINT8", datatype="UINT8", shape=[1])
    answer = await infer(message)
    assert [b"", b"\x07"] == list(answer.raw_output_contents)
    assert [0, 4] == list(answer.outputs[0].shape)


async def test_outputs_come_as_asked(infer) -> None:
    """A client that names outputs gets those, in its own order."""
    message = ModelInferRequest(model_name="mirror", raw_input_contents=[b"\x01", b"\x02"])
    for name in ("INT8", "UINT8"):
        message.inputs.add(name=name, datatype=name, shape=[1])
    for name in ("UINT8", "INT8"):
        message.outputs.add(name=name)
    assert ["UINT8", "INT8"] == [output.name for output in (await infer(message)).outputs]


async def test_who_answered_is_in_metadata_and_parameters(infer) -> None:
    """A client library that hides metadata still shows which arm answered."""
    call = infer(request("ramped"), metadata=(("x-request-id", "r-77"),))
    answer, metadata = await call, dict(await call.initial_metadata())
    assert {
        "x-request-id": "r-77",
        "x-turnout-arm": "ramped-1",
        "x-turnout-version": "v2",
        "x-turnout-revision": "3",
        "x-turnout-reason": "only_arm",
    } == {name: value for name, value in metadata.items() if name.startswith("x-")}
    assert ("ramped-1", "v2", 3, "only_arm") == (
        answer.parameters["turnout_arm"].string_param,
        answer.parameters["turnout_version"].string_param,
        answer.parameters["turnout_revision"].int64_param,
        answer.parameters["turnout_reason"].string_param,
    )


async def test_a_version_pins_the_arm(infer) -> None:
    """Who asks for an exact version gets it."""
    assert "v1" == (await infer(request("ramped", model_version="v1"))).model_version


async def test_the_unit_of_the_metadata_is_the_unit_of_http(infer, stage) -> None:
    """A caller meets the same arm whichever way it asks."""
    await infer(request("ramped"), metadata=(("x-turnout-unit", "u1"),))
    body = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'
    await stage.infer("ramped", body, {"x-turnout-unit": "u1"})
    by_grpc, by_http = stage.records
    assert ("u1", by_http.routed.facts.point) == (by_grpc.routed.facts.unit, by_grpc.routed.facts.point)


@pytest.mark.parametrize("how", ["deadline", "metadata", "parameter"])
async def test_every_kind_of_deadline_bounds_the_call(infer, stage, how) -> None:
    """The gRPC deadline, the header and the V2 parameter all reach the model."""
    message = request()
    if how == "parameter":
        message.parameters["timeout"].int64_param = 20_000_000
    metadata = (("x-request-timeout-ms", "20000"),) if how == "metadata" else ()
    await infer(message, timeout=20 if how == "deadline" else None, metadata=metadata)
    endpoint = stage.router.table.routes["plain"].baseline.endpoint
    assert abs(endpoint.deadlines[0] - stage.records[0].arrival.started_at - 20) < 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (InvalidInput("x must have 4 columns"), Code.INVALID_ARGUMENT),
        (Overloaded("the queue is full"), Code.RESOURCE_EXHAUSTED),
        (ExecutionFailed("division by zero"), Code.INTERNAL),
        (NotReady("still loading"), Code.UNAVAILABLE),
    ],
)
async def test_what_a_model_fails_with_has_its_code(infer, stage, make_endpoint, failure, code) -> None:
    """A client can tell its own mistake from the model's, and both from overload."""
    stage.route("failing", make_endpoint(failure, "v1"))
    error = await refused(infer(request("failing", id="a1")))
    assert (code, str(failure), "a1") == (
        error.code(),
        error.details(),
        dict(error.trailing_metadata())["x-request-id"],
    )


async def test_a_model_that_is_not_there_is_not_found(infer) -> None:
    """Whoever misspells a name is told that it is not there."""
    assert Code.NOT_FOUND == (await refused(infer(request("nobody")))).code()


async def test_a_timeout_that_cannot_be_read_is_refused(infer) -> None:
    """A budget that was meant and mistyped is not silently dropped."""
    error = await refused(infer(request(), metadata=(("x-request-timeout-ms", "soon"),)))
    assert Code.INVALID_ARGUMENT == error.code()


async def test_bytes_that_are_no_message_are_the_caller_s_mistake(send, stage) -> None:
    """Broken protobuf is no internal error, and leaves a record."""
    error = await refused(send(b"\xff\xff\xff"))
    assert (Code.INVALID_ARGUMENT, "malformed") == (error.code(), stage.records[0].reply.code)


async def test_a_message_above_the_limit_is_refused(send) -> None:
    """The limit is the same as over HTTP."""
    assert Code.RESOURCE_EXHAUSTED == (await refused(send(b"\0" * ((1 << 20) + 1)))).code()


async def test_a_message_that_unpacks_above_the_limit_is_refused(send) -> None:
    """A compressed message is measured unpacked."""
    zeros = b"\0" * (64 << 20)
    assert len(gzip.compress(zeros)) < 1 << 20
    error = await refused(send(zeros, compression=grpc.Compression.Gzip))
    assert Code.RESOURCE_EXHAUSTED == error.code()


async def test_a_compressed_message_is_understood(infer) -> None:
    """Clients may compress what they send."""
    assert "plain" == (await infer(request(), compression=grpc.Compression.Gzip)).model_name


async def test_an_answer_is_recorded_once_with_its_sizes(infer, stage) -> None:
    """What happened to a request is written down exactly once."""
    answer = await infer(request())
    (record,) = stage.records
    assert ("ok", "OK", 0, answer.ByteSize()) == (
        record.reply.code,
        record.reply.grpc_status,
        record.reply.http_status,
        record.reply.response_bytes,
    )
    assert ("grpc", "127.0.0.1", request().ByteSize()) == (
        record.arrival.protocol,
        record.arrival.caller,
        record.reply.request_bytes,
    )


async def test_a_refusal_is_recorded_with_its_code(infer, stage) -> None:
    """Refusals are counted by what they were."""
    await refused(infer(request("nobody")))
    (record,) = stage.records
    assert (None, "not_found", "NOT_FOUND") == (record.routed, record.reply.code, record.reply.grpc_status)


async def test_a_caller_who_cancels_frees_the_model(infer, stage, make_endpoint) -> None:
    """Nobody's work is not done to its end, and the event says cancelled."""
    endpoint = make_endpoint("hang", "v1")
    stage.route("slow", endpoint)
    call = infer(request("slow"))
    await asyncio.wait_for(endpoint.began.wait(), 10)
    call.cancel()
    while not stage.records:
        await asyncio.sleep(0.001)
    assert (True, "cancelled", "CANCELLED") == (
        endpoint.was_cancelled,
        stage.records[0].reply.code,
        stage.records[0].reply.grpc_status,
    )


async def test_a_deadline_that_passes_is_told_as_such(infer, stage, make_endpoint) -> None:
    """A model that hangs costs a caller no more than the deadline."""
    stage.route("slow", make_endpoint("hang", "v1"))
    message = request("slow")
    message.parameters["timeout"].int64_param = 5000
    assert Code.DEADLINE_EXCEEDED == (await refused(infer(message))).code()


async def test_a_stream_answers_each_request_in_order(stream, stage) -> None:
    """Many requests over one stream come back one by one, each recorded."""
    call = stream()
    for n in range(3):
        await call.write(request(id=str(n)))
    await call.done_writing()
    answers = [answer async for answer in call]
    assert ["0", "1", "2"] == [answer.infer_response.id for answer in answers]
    assert [""] * 3 == [answer.error_message for answer in answers]
    assert ["ok"] * 3 == [record.reply.code for record in stage.records]


async def test_an_error_leaves_the_stream_open(stream) -> None:
    """One bad request does not cost the good ones behind it."""
    call = stream()
    await call.write(request("nobody", id="bad"))
    await call.write(request(id="good"))
    await call.done_writing()
    first, second = [answer async for answer in call]
    assert ("bad", True, "good", "") == (
        first.infer_response.id,
        "nobody" in first.error_message,
        second.infer_response.id,
        second.error_message,
    )


async def test_a_stream_marks_the_only_answer_as_the_last_if_asked(stream) -> None:
    """A client that counts on the mark of the final response finds it."""
    message = request()
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    call = stream()
    await call.write(message)
    await call.done_writing()
    (answer,) = [answer async for answer in call]
    assert answer.infer_response.parameters["triton_final_response"].bool_param


async def test_a_stream_that_breaks_is_recorded(stream, stage, make_endpoint) -> None:
    """A caller who leaves in the middle of a stream cancels what it asked for."""
    endpoint = make_endpoint("hang", "v1")
    stage.route("slow", endpoint)
    call = stream()
    await call.write(request("slow"))
    await asyncio.wait_for(endpoint.began.wait(), 10)
    call.cancel()
    while not stage.records:
        await asyncio.sleep(0.001)
    assert (True, ["cancelled"]) == (endpoint.was_cancelled, [record.reply.code for record in stage.records])
