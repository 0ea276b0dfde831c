"""Starting and stopping both servers."""

import asyncio
import socket

import grpc
import httpx
import pytest
import uvloop
from msgspec import structs

from gateway.frontends.binding import PortInUse
from gateway.frontends.limits import Limits
from gateway.frontends.servers import Listen, Servers
from runners.oip.messages import SERVICE, ModelInferRequest, ModelInferResponse

BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'


def url(servers: Servers, path: str) -> str:
    return f"http://127.0.0.1:{servers.http_port}{path}"


async def post(servers: Servers, model: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(url(servers, f"/v2/models/{model}/infer"), content=BODY)


def request(model: str) -> ModelInferRequest:
    message = ModelInferRequest(model_name=model, raw_input_contents=[b"\0" * 16])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    return message


def call(channel: grpc.aio.Channel, model: str):
    infer = channel.unary_unary(
        f"/{SERVICE}/ModelInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString
    )
    return infer(request(model))


async def test_port_0_takes_ports_that_can_be_read(servers) -> None:
    """Tests and supervisors find the servers wherever they are."""
    assert 0 < servers.http_port != servers.grpc_port > 0


@pytest.mark.parametrize("what", ["HTTP", "gRPC"])
async def test_a_port_in_use_is_one_clear_line(stage, what) -> None:
    """An operator reads which port, and who wanted it; nothing is left half started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = (port, 0) if what == "HTTP" else (0, port)
        servers = Servers(stage.serving, Listen("127.0.0.1", *ports))
        with pytest.raises(PortInUse) as caught:
            await servers.start()
    said = f"port {port} is in use, so {what} cannot listen there; choose other ports with --port"
    assert said == str(caught.value)
    assert (port, what) == (caught.value.port, caught.value.what)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", servers.http_port))


async def test_two_gateways_do_not_share_a_port_unknowingly(servers, stage) -> None:
    """A second process on the same gRPC port is told so, and does not take half of the calls."""
    second = Servers(stage.serving, Listen("127.0.0.1", 0, servers.grpc_port))
    with pytest.raises(PortInUse):
        await second.start()


async def test_a_host_that_is_not_ours_is_an_error_of_the_system(stage) -> None:
    """An address of another machine is no port in use."""
    with pytest.raises(OSError, match="assign"):
        await Servers(stage.serving, Listen("192.0.2.1", 0, 0)).start()


async def ask_until_refused(servers: Servers) -> None:
    while True:
        await post(servers, "plain")


def test_a_stop_lets_requests_under_way_finish(stage, make_endpoint) -> None:
    """Nobody who was being served when the signal came notices it."""
    assert (200, "slow") == uvloop.run(stop_under_load(stage, make_endpoint))
    assert ["ok", "ok"] == [record.reply.code for record in stage.records if record.routed.route.name == "slow"]


async def stop_under_load(stage, make_endpoint) -> tuple[int, str]:
    gate = asyncio.Event()
    endpoint = make_endpoint("hang", "v1")
    plain = stage.router.table.routes["plain"].baseline.endpoint

    async def infer(request, /, *, deadline_at):
        endpoint.seen.append(request)
        await gate.wait()
        return plain.answer(request)

    endpoint.infer = infer
    stage.route("slow", endpoint)
    servers = Servers(stage.serving, Listen("127.0.0.1", 0, 0))
    await servers.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        by_http, by_grpc = asyncio.create_task(post(servers, "slow")), asyncio.ensure_future(call(channel, "slow"))
        while len(endpoint.seen) < 2:
            await asyncio.sleep(0.001)
        stopping = asyncio.create_task(servers.stop(20))
        while stage.readiness.is_ready():
            await asyncio.sleep(0)
        with pytest.raises(httpx.TransportError):
            await ask_until_refused(servers)
        gate.set()
        answered = (await by_http).status_code, (await by_grpc).model_name
        await stopping
    return answered


async def test_a_drain_ends_when_its_time_is_up(stage, make_endpoint) -> None:
    """A model that hangs cannot keep a process from stopping; its callers hear that it stops."""
    endpoint = make_endpoint("hang", "v1")
    stage.route("slow", endpoint)
    servers = Servers(stage.serving, Listen("127.0.0.1", 0, 0))
    await servers.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        by_http, by_grpc = asyncio.create_task(post(servers, "slow")), asyncio.ensure_future(call(channel, "slow"))
        while len(endpoint.seen) < 2:
            await asyncio.sleep(0.001)
        await servers.stop(0.05)
        reply = await by_http
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await by_grpc
    assert (503, {"error": "the server is stopping"}) == (reply.status_code, reply.json())
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert ["cancelled", "cancelled"] == [record.reply.code for record in stage.records]


async def test_stopping_twice_is_harmless(servers) -> None:
    """A second signal finds nothing left to do."""
    await servers.stop(0.1)
    await servers.stop(0.1)


async def test_a_stopped_server_wants_no_traffic(servers, stage) -> None:
    """Readiness goes first."""
    await servers.stop(0.1)
    assert not stage.readiness.is_ready()


def test_all_of_it_runs_on_the_loop_of_production(stage, make_endpoint) -> None:
    """Answers, hang-ups and a stop behave on uvloop as everywhere else."""
    uvloop.run(one_of_each(stage, make_endpoint("hang", "v1")))
    outcomes = [(record.arrival.protocol, record.reply.code) for record in stage.records]
    assert [("http", "ok"), ("grpc", "ok"), ("http", "cancelled"), ("grpc", "cancelled")] == outcomes


async def one_of_each(stage, hanging) -> None:
    stage.route("slow", hanging)
    servers = Servers(stage.serving, Listen("127.0.0.1", 0, 0))
    await servers.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        assert 200 == (await post(servers, "plain")).status_code
        assert "plain" == (await call(channel, "plain")).model_name
        gone = asyncio.create_task(post(servers, "slow"))
        while len(hanging.seen) < 1:
            await asyncio.sleep(0.001)
        gone.cancel()
        while len(stage.records) < 3:
            await asyncio.sleep(0.001)
        cancelled = call(channel, "slow")
        while len(hanging.seen) < 2:
            await asyncio.sleep(0.001)
        cancelled.cancel()
        while len(stage.records) < 4:
            await asyncio.sleep(0.001)
    await servers.stop(5)


async def test_a_connection_that_is_old_is_replaced_unnoticed(stage) -> None:
    """Clients that never hang up are spread anew over the servers, and lose no call by it."""
    aging = structs.replace(stage.serving, limits=Limits(connection_s=0.05))
    servers = Servers(aging, Listen("127.0.0.1", 0, 0))
    await servers.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        await call(channel, "plain")
        await asyncio.wait_for(channel.wait_for_state_change(grpc.ChannelConnectivity.READY), 20)
        assert "plain" == (await call(channel, "plain")).model_name
    await servers.stop(1)


def test_ipv6_is_listened_on(stage) -> None:
    """An address with colons is an address."""

    async def listen() -> int:
        servers = Servers(stage.serving, Listen("::1", 0, 0))
        await servers.start()
        async with httpx.AsyncClient() as client:
            reply = await client.get(f"http://[::1]:{servers.http_port}/v2/health/ready")
        async with grpc.aio.insecure_channel(f"[::1]:{servers.grpc_port}") as channel:
            await call(channel, "plain")
        await servers.stop(0.1)
        return reply.status_code

    assert 200 == asyncio.run(listen())
    assert "::1" == stage.records[0].arrival.caller
