"""The standard health service, for the server as a whole and for the one service it has.

Source: gRPC Health Checking Protocol, github.com/grpc/grpc, doc/health-checking.md.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gateway.errors import Malformed, UnknownModel
from gateway.frontends.grpc_call import Answer, Body, Call, Method
from gateway.frontends.readiness import Readiness
from runners.oip.messages import SERVICE

NAME: Final = "grpc.health.v1.Health"
NAMES: Final = ("", SERVICE)
SERVING: Final = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()
NOT_SERVING: Final = HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING).SerializeToString()
UNKNOWN: Final = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN).SerializeToString()


class Health:
    """Says what the process's readiness says."""

    def __init__(self, readiness: Readiness) -> None:
        self._is_serving = False
        self._is_over = False
        self._changed = asyncio.Event()
        readiness.watch(self._set)

    def methods(self) -> Mapping[str, Method]:
        """By their paths."""
        return {f"/{NAME}/Check": Method(unary=self.check), f"/{NAME}/Watch": Method(streaming=self.watch)}

    def end(self) -> None:
        """Say NOT_SERVING for good, and let those who watch go, so that they hold up no drain."""
        self._is_over = True
        self._set(is_serving=False)

    async def check(self, body: Body, _: Call) -> Answer:
        name = _asked(body)
        if name not in NAMES:
            raise UnknownModel(f"there is no service '{name[:100]}'")
        return Answer(SERVING if self._is_serving else NOT_SERVING)

    async def watch(self, bodies: AsyncGenerator[Body, None], _: Call) -> AsyncGenerator[bytes, None]:
        """The state now, and every later one, but for those that did not last until it could be sent."""
        name = _asked(await anext(bodies))
        said = b""
        while True:
            changed = self._changed
            now = UNKNOWN if name not in NAMES else SERVING if self._is_serving else NOT_SERVING
            if now != said:
                yield now
                said = now
            if self._is_over:
                return
            await changed.wait()

    def _set(self, is_serving: bool) -> None:
        self._is_serving = is_serving and not self._is_over
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _asked(body: Body) -> str:
    try:
        name: str = HealthCheckRequest.FromString(bytes(body)).service
    except DecodeError:
        raise Malformed("the message is no HealthCheckRequest") from None
    return name
