"""What a connection may do, on real sockets: streams, health, reflection, compression, limits, goodbyes."""

import asyncio
import zlib

import grpc
import h2.config
import h2.connection
import h2.events
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from msgspec import structs

from gateway.frontends import grpc_calls, grpc_protocol
from gateway.frontends.grpc_wire import pack_prefix
from gateway.frontends.limits import Limits
from gateway.frontends.servers import Listen, Servers
from runners.oip.messages import SERVICE, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse

INFER = f"/{SERVICE}/ModelInfer"
Code = grpc.StatusCode
PATIENCE_S = 20


def request(model: str = "plain", **fields) -> ModelInferRequest:
    message = ModelInferRequest(model_name=model, raw_input_contents=[bytes(16)], **fields)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    return message


def framed(message: ModelInferRequest) -> bytes:
    body = message.SerializeToString()
    return pack_prefix(0, len(body)) + body


class Raw:
    """A client that says what it wants, by h2 on a socket."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))

    async def ask(self, *pieces: bytes, **headers: str) -> dict[str, str]:
        """One call of these pieces of data; what its headers and trailers say."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.h2.initiate_connection()
        listed = {
            ":method": "POST",
            ":scheme": "http",
            ":path": INFER,
            ":authority": "x",
            "content-type": "application/grpc",
            **headers,
        }
        self.h2.send_headers(1, [(name.replace("_", "-"), value) for name, value in listed.items()])
        for piece in pieces:
            self.h2.send_data(1, piece)
        self.h2.end_stream(1)
        try:
            return await asyncio.wait_for(self._hear(), PATIENCE_S)
        finally:
            self.writer.close()
            await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    async def _hear(self) -> dict[str, str]:
        said: dict[str, str] = {}
        while True:
            self.writer.write(self.h2.data_to_send())
            heard = await self.reader.read(65_536)
            if not heard:
                return said
            for event in self.h2.receive_data(heard):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    said |= dict(event.headers)
                if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return said


@pytest.fixture
async def start(stage):
    """Start servers with limits of their own."""
    started = []

    async def begin(**limits):
        servers = Servers(structs.replace(stage.serving, limits=Limits(**limits)), Listen("127.0.0.1", 0, 0))
        await servers.start()
        started.append(servers)
        return servers

    yield begin
    for servers in started:
        await servers.stop(0.1)


@pytest.fixture
def raw(servers):
    return Raw(servers.grpc_port)


async def code_of(call) -> Code:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


def stream_of(channel, **options):
    return channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer", ModelInferRequest.SerializeToString, ModelStreamInferResponse.FromString
    )(**options)


@pytest.mark.parametrize(
    ("headers", "status"), [({"content-type": "application/json"}, "415"), ({":method": "GET"}, "405")]
)
async def test_what_is_no_grpc_is_answered_in_http_and_counted(start, stage, headers, status) -> None:
    """Whoever comes to the wrong port reads so, and an operator sees it."""
    raw = Raw((await start()).grpc_port)
    assert status == (await raw.ask(**headers))[":status"]
    assert [("grpc", "not_grpc")] == stage.recorder.refused


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ((), "no message"),
        ((b"\0\0\0\0\x09abc",), "within a message"),
        ((framed(request()), framed(request())), "no message"),
        ((b"\x07\0\0\0\0",), "no message of gRPC"),
        ((b"\x01\0\0\0\x01a",), "does not say how"),
    ],
)
async def test_a_unary_call_has_one_message(raw, stage, pieces, why) -> None:
    """Anything else is the caller's mistake, said and recorded."""
    said = await raw.ask(*pieces)
    assert "3" == said["grpc-status"]
    assert why in said["grpc-message"]
    (record,) = stage.records
    assert ("malformed", "INVALID_ARGUMENT", None) == (record.reply.code, record.reply.grpc_status, record.routed)


async def test_a_message_may_come_byte_by_byte(raw) -> None:
    """However the client frames it."""
    body = framed(request())
    assert "0" == (await raw.ask(*[body[at : at + 1] for at in range(len(body))]))["grpc-status"]


async def test_deflate_is_a_zlib_container(raw) -> None:
    """As other libraries have it."""
    packed = zlib.compress(request().SerializeToString())
    assert "0" == (await raw.ask(pack_prefix(1, len(packed)) + packed, grpc_encoding="deflate"))["grpc-status"]


async def test_a_torn_compressed_message_is_the_callers_mistake(raw) -> None:
    """Not an internal error."""
    packed = zlib.compress(request().SerializeToString())[:-3]
    said = await raw.ask(pack_prefix(1, len(packed)) + packed, grpc_encoding="deflate")
    assert "3" == said["grpc-status"]


async def test_an_unknown_compression_is_unimplemented(raw) -> None:
    """And the client is told which there are."""
    said = await raw.ask(framed(request()), grpc_encoding="snappy")
    assert ("12", "identity,deflate,gzip") == (said["grpc-status"], said["grpc-accept-encoding"])


async def test_metadata_beyond_the_limit_costs_the_call_alone(channel) -> None:
    """The next call on the same connection is answered."""
    infer = channel.unary_unary(INFER, ModelInferRequest.SerializeToString, ModelInferResponse.FromString)
    assert Code.RESOURCE_EXHAUSTED == await code_of(infer(request(), metadata=(("x-much", "x" * 17_000),)))
    assert "plain" == (await infer(request())).model_name


async def test_a_message_that_does_not_come_is_not_waited_for(start) -> None:
    """A client that begins and falls silent holds its place for as long as a body may take."""
    raw = Raw((await start(body_s=0.2)).grpc_port)
    raw.h2.end_stream = lambda _: None
    said = await raw.ask(b"\0\0\0\0\x09abc")
    assert ("4", True) == (said["grpc-status"], "did not arrive" in said["grpc-message"])


async def test_large_tensors_go_both_ways(start) -> None:
    """Many times the windows of either side, several at once."""
    servers = await start()
    rows = np.arange(3 << 20, dtype=np.float32)
    message = ModelInferRequest(model_name="mirror", raw_input_contents=[rows.tobytes()])
    message.inputs.add(name="FP32", datatype="FP32", shape=[rows.size])
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}", options=options) as channel:
        infer = channel.unary_unary(INFER, ModelInferRequest.SerializeToString, ModelInferResponse.FromString)
        answers = await asyncio.gather(*(infer(message) for _ in range(3)))
    assert [rows.tobytes()] * 3 == [answer.raw_output_contents[0] for answer in answers]


async def test_a_stream_carries_large_messages(start) -> None:
    """Each is let in as the one before is done with."""
    servers = await start()
    rows = np.arange(1 << 18, dtype=np.float32)
    message = ModelInferRequest(model_name="mirror", raw_input_contents=[rows.tobytes()])
    message.inputs.add(name="FP32", datatype="FP32", shape=[rows.size])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        call = channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", ModelInferRequest.SerializeToString, ModelStreamInferResponse.FromString
        )(iter([message] * 6))
        assert [rows.tobytes()] * 6 == [answer.infer_response.raw_output_contents[0] async for answer in call]


async def test_a_stream_may_be_compressed(channel) -> None:
    """Message by message."""
    call = stream_of(channel, compression=grpc.Compression.Gzip)
    await call.write(request(parameters={}))
    await call.done_writing()
    assert ["plain"] == [answer.infer_response.model_name async for answer in call]


async def test_a_stream_whose_message_is_too_large_ends_with_the_reason(channel) -> None:
    """The limit is that of a single call."""
    call = stream_of(channel)
    await call.write(request(id="a"))
    message = ModelInferRequest(model_name="plain", raw_input_contents=[bytes(2 << 20)])
    await call.write(message)
    assert "a" == (await call.read()).infer_response.id
    assert Code.RESOURCE_EXHAUSTED == await code_of(call.read())


async def test_calls_beyond_the_limit_are_an_overload(servers, stage, make_endpoint, channel, monkeypatch) -> None:
    """They are refused at once, recorded, and there is room again when one is done."""
    monkeypatch.setattr(grpc_calls, "CALLS_LIMIT", 1)
    endpoint = make_endpoint("hang", "v1")
    stage.route("slow", endpoint)
    infer = channel.unary_unary(INFER, ModelInferRequest.SerializeToString, ModelInferResponse.FromString)
    first = infer(request("slow"))
    await asyncio.wait_for(endpoint.began.wait(), PATIENCE_S)
    assert Code.RESOURCE_EXHAUSTED == await code_of(infer(request()))
    assert ["overload"] == [record.reply.code for record in stage.records]
    first.cancel()
    while len(stage.records) < 2:
        await asyncio.sleep(0.001)
    assert "plain" == (await infer(request())).model_name


async def test_connections_beyond_the_limit_are_told_so(start, stage, monkeypatch) -> None:
    """And those that are there keep working."""
    monkeypatch.setattr(grpc_protocol, "CONNECTIONS_LIMIT", 1)
    servers = await start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        infer = channel.unary_unary(INFER, ModelInferRequest.SerializeToString, ModelInferResponse.FromString)
        await infer(request())
        assert {} == await Raw(servers.grpc_port).ask(framed(request()))
        assert "plain" == (await infer(request())).model_name
    assert [("grpc", "too_many_connections")] == stage.recorder.refused


def watch(channel, service: str):
    call = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    return call(health_pb2.HealthCheckRequest(service=service))


async def test_whoever_watches_health_hears_of_every_change(channel, stage) -> None:
    """A client-side load balancer need not ask again and again."""
    call = watch(channel, SERVICE)
    seen = [(await call.read()).status]
    for is_ready in (False, True):
        stage.readiness.set(is_ready)
        seen.append((await call.read()).status)
    serving, away = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert [serving, away, serving] == seen


async def test_whoever_watches_an_unknown_service_is_told_so(channel) -> None:
    """As the health protocol has it, the stream stays open."""
    answer = await watch(channel, "nobody").read()
    assert health_pb2.HealthCheckResponse.SERVICE_UNKNOWN == answer.status


async def test_a_watcher_holds_up_no_drain(servers, channel) -> None:
    """It hears that the server goes away, and then its call is over."""
    call = watch(channel, "")
    await call.read()
    stopping = asyncio.create_task(servers.stop(600))
    assert health_pb2.HealthCheckResponse.NOT_SERVING == (await call.read()).status
    await asyncio.wait_for(stopping, PATIENCE_S)


async def test_reflection_of_version_1_describes_itself(channel) -> None:
    """The version that newer tools ask for first."""
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )()
    symbol = "grpc.reflection.v1.ServerReflection"
    await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
    await call.done_writing()
    (answer,) = [answer async for answer in call]
    assert b"grpc/reflection/v1/reflection.proto" in answer.file_descriptor_response.file_descriptor_proto[0]


@pytest.mark.parametrize(
    "path", ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
)
async def test_junk_is_the_callers_mistake_everywhere(raw, path) -> None:
    """Health and reflection read as strictly as all else."""
    assert "3" == (await raw.ask(b"\0\0\0\0\x01\xff", **{":path": path}))["grpc-status"]


async def test_an_error_keeps_its_letters(channel, stage, make_endpoint) -> None:
    """Whatever language a model's error is in."""
    stage.route("failing", make_endpoint(grpc_calls.Overloaded("zu viele für 100 %: 満員"), "v1"))
    infer = channel.unary_unary(INFER, ModelInferRequest.SerializeToString, ModelInferResponse.FromString)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(request("failing"))
    assert "zu viele für 100 %: 満員" == caught.value.details()
