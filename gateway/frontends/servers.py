"""Both servers of a process as one: what main.py starts and stops."""

import asyncio
import socket
from functools import partial

from msgspec import Struct

from gateway.feedback.intake import Intake
from gateway.frontends.discovery import Discovery
from gateway.frontends.grpc import PROTOCOL as GRPC
from gateway.frontends.grpc import GrpcFrontend
from gateway.frontends.grpc_documents import GrpcMethods
from gateway.frontends.grpc_server import GrpcServer
from gateway.frontends.http import PROTOCOL as HTTP
from gateway.frontends.http import HttpFrontend
from gateway.frontends.http_server import HttpServer
from gateway.frontends.limits import DEFAULT_LIMITS, Limits
from gateway.frontends.readiness import Readiness
from gateway.frontends.reception import Reception
from gateway.frontends.tls import Certificates
from gateway.recording import Recorder
from gateway.routing.router import Router
from gateway.service import Service
from observability.tracing import Tracing


class Listen(Struct, frozen=True):
    """Where to listen. A port of 0 takes any that is free; without `certificates` both are plain."""

    host: str = "0.0.0.0"  # noqa: S104 - a server in a container is of no use on loopback alone
    http_port: int = 8000
    grpc_port: int = 8001
    certificates: Certificates | None = None


class Serving(Struct, frozen=True):
    """What both frontends need of the rest of the gateway. `version` is the gateway's own."""

    service: Service
    router: Router
    recorder: Recorder
    tracing: Tracing
    readiness: Readiness
    version: str
    limits: Limits = DEFAULT_LIMITS
    intake: Intake | None = None  # of clicks; without it nobody takes any


class Servers:
    """HTTP and gRPC, started together and stopped together, inside the running loop."""

    def __init__(self, serving: Serving, listen: Listen) -> None:
        reception = Reception(serving.tracing)
        discovery = Discovery(serving.router, serving.readiness, serving.version)
        service, recorder, limits, intake = serving.service, serving.recorder, serving.limits, serving.intake
        http = HttpFrontend(service, recorder, reception, discovery, limits, intake=intake)
        grpc = GrpcFrontend(service, recorder, reception, limits, keys=intake.keys if intake else None)
        methods = GrpcMethods(grpc, discovery)
        self._readiness = serving.readiness
        certificates = listen.certificates
        self._http = HttpServer(
            http,
            listen.host,
            listen.http_port,
            tls=certificates.http_context() if certificates else None,
            refused=partial(serving.recorder.refuse, HTTP),
        )
        self._grpc = GrpcServer(
            methods,
            serving.readiness,
            (listen.host, listen.grpc_port),
            serving.limits,
            refused=partial(serving.recorder.refuse, GRPC),
            tls=certificates.grpc_context() if certificates else None,
        )

    @property
    def http_port(self) -> int:
        """The port HTTP listens on, 0 before the start."""
        return self._http.port

    @property
    def grpc_port(self) -> int:
        """The port gRPC listens on, 0 before the start."""
        return self._grpc.port

    async def start(self, http: socket.socket | None = None, grpc: socket.socket | None = None) -> None:
        """Listen on sockets that were handed over, or on new ones.

        Raises PortInUse or OSError, with nothing left listening.
        """
        await self._http.start(http)
        try:
            await self._grpc.start(grpc)
        except BaseException:
            await self._http.stop(0)
            raise

    async def stop(self, drain_s: float) -> None:
        """Say that no more traffic is wanted, finish what is under way within `drain_s` seconds, and close."""
        self._readiness.set(False)
        await asyncio.gather(self._http.stop(drain_s), self._grpc.stop(drain_s))
