"""The gRPC server: grpc.aio with health checks and reflection."""

import asyncio
import socket
from contextlib import suppress

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gateway.frontends.binding import PortInUse, bind
from gateway.frontends.grpc_documents import GrpcMethods
from gateway.frontends.limits import Limits
from gateway.frontends.readiness import Readiness
from runners.oip.messages import SERVICE, load_pool

CALLS_LIMIT = 4096  # under way at once; more are told RESOURCE_EXHAUSTED
HEALTH_NAMES = ("", SERVICE)  # the server as a whole, and the one service it has


class GrpcServer:
    """Listens from `start` to `stop`."""

    def __init__(
        self,
        methods: GrpcMethods,
        readiness: Readiness,
        host: str,
        port: int,
        limits: Limits,
        *,
        tls: grpc.ServerCredentials | None = None,
    ) -> None:
        """`port` 0 takes any that is free; without `tls` it is plain."""
        self._methods = methods
        self._readiness = readiness
        self._host = host
        self._wanted = port
        self._limits = limits
        self._tls = tls
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self._announcements: set[asyncio.Task[None]] = set()
        self.port = 0  # the one it listens on, once started

    async def start(self, reserved: socket.socket | None = None) -> None:
        """Listen, by default on a port of its own: raises PortInUse, or OSError for an address that cannot be had.

        grpcio takes no socket of others, so it makes one more on the port that `reserved` holds, which must not listen.
        """
        options = _options(self._limits, shared=reserved is not None)
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=CALLS_LIMIT)
        server.add_generic_rpc_handlers((self._methods,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server, pool=_reflected_pool())
        if reserved is not None:
            self._wanted = reserved.getsockname()[1]
        else:
            bind(self._host, self._wanted, "gRPC").close()  # grpcio does not say why it could not listen
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            self.port = self._listen(server, f"{host}:{self._wanted}")
        except RuntimeError:
            raise PortInUse(self._wanted, "gRPC") from None
        await self._announce(self._readiness.is_ready())
        await server.start()
        self._readiness.watch(self._announce_soon)
        self._server = server

    async def stop(self, drain_s: float) -> None:
        """Say NOT_SERVING, accept nothing new, give what is under way `drain_s` seconds, then cancel it."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await self._server.stop(drain_s)
        for task in list(self._announcements):
            with suppress(asyncio.CancelledError):
                await task
        self._server = None

    def _listen(self, server: grpc.aio.Server, address: str) -> int:
        port: int = server.add_secure_port(address, self._tls) if self._tls else server.add_insecure_port(address)
        return port

    def _announce_soon(self, is_ready: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._announce(is_ready))
        self._announcements.add(task)
        task.add_done_callback(self._announcements.discard)

    async def _announce(self, is_ready: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if is_ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in HEALTH_NAMES:
            await self._health.set(name, status)


def _options(limits: Limits, *, shared: bool) -> list[tuple[str, int]]:
    options = [
        ("grpc.so_reuseport", int(shared)),  # otherwise two processes share a port without either knowing
        ("grpc.max_receive_message_length", limits.body_bytes),  # also after decompression
        ("grpc.max_send_message_length", -1),  # an answer is as large as the model makes it
    ]
    if limits.connection_s:
        options.append(("grpc.max_connection_age_ms", round(limits.connection_s * 1e3)))  # calls under way finish
    return options


def _reflected_pool() -> object:
    """The protocol's file beside those of the two services that come with grpcio, so that all can be described."""
    pool = load_pool()
    pool.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(reflection_pb2.DESCRIPTOR.serialized_pb)
    return pool
