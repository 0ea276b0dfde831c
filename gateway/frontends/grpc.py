"""The gRPC frontend: the Open Inference Protocol on generic handlers.

Messages are parsed here and not by grpcio, which would call a malformed one an internal error of the server.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import NoReturn, Protocol
from urllib.parse import unquote

import grpc
from msgspec import Struct

from gateway.arrival import Arrival, Reply
from gateway.execution.outcome import Outcome, Routed
from gateway.frontends.attribution import REQUEST_ID, Attributions, request_id_header
from gateway.frontends.grpc_codec import decode_request, encode_answer
from gateway.frontends.limits import DEFAULT_LIMITS, Limits
from gateway.frontends.reception import Reception, refuse_timeout
from gateway.frontends.status import CANCELLED, OK, Refusal, refusal_of
from gateway.recording import Recorder
from gateway.service import Service
from runners.core.errors import RunnerError
from runners.core.tensor import InferenceRequest
from runners.oip import messages

PROTOCOL = "grpc"
GONE = Reply(CANCELLED, grpc_status=grpc.StatusCode.CANCELLED.name)
ALREADY_LATE_S = 1e-9  # a deadline that has passed is still one; 0 would mean that there is none
WANTS_FINAL = "triton_enable_empty_final_response"
FINAL = "triton_final_response"

Metadata = tuple[tuple[str, str], ...]


class Context(Protocol):
    """What is used of grpc.aio's context of a call; grpcio brings no types."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...
    def time_remaining(self) -> float | None: ...
    def peer(self) -> str: ...
    async def send_initial_metadata(self, metadata: Metadata, /) -> None: ...
    async def abort(self, code: grpc.StatusCode, details: str, metadata: Metadata, /) -> NoReturn: ...


class GrpcAnswer(Struct, frozen=True, gc=False):
    """What goes back to one request: a serialised ModelInferResponse, or the reason why there is none."""

    metadata: Metadata
    body: bytes = b""
    refusal: Refusal | None = None
    request: InferenceRequest | None = None


class GrpcFrontend:
    """Turns gRPC calls into inferences and back, and records each request exactly once."""

    def __init__(
        self,
        service: Service,
        recorder: Recorder,
        reception: Reception,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._service = service
        self._recorder = recorder
        self._reception = reception
        self._limits = limits
        self._attributions = Attributions()

    async def infer(self, body: bytes, context: Context) -> bytes:
        """ModelInfer."""
        answer = await self._exchange(body, context)
        if answer.refusal is not None:
            await abort(context, answer.refusal, answer.metadata)
        await context.send_initial_metadata(answer.metadata)
        return answer.body

    async def stream_infer(self, bodies: AsyncIterable[bytes], context: Context) -> AsyncIterator[bytes]:
        """ModelStreamInfer. An error answers its request and leaves the stream open."""
        async for body in bodies:
            answer = await self._exchange(body, context)
            streamed = messages.ModelStreamInferResponse()
            if answer.refusal is not None:
                streamed.error_message = answer.refusal.text
                streamed.infer_response.id = answer.request.id if answer.request else ""
            else:
                streamed.infer_response.MergeFromString(answer.body)
                if answer.request and answer.request.parameters.get(WANTS_FINAL):
                    streamed.infer_response.parameters[FINAL].bool_param = True
            yield streamed.SerializeToString()

    async def _exchange(self, body: bytes, context: Context) -> GrpcAnswer:
        """Answer one request and record it; the only error that leaves here is cancellation."""
        arrival = self._arrive(context)
        request: InferenceRequest | None = None
        routed: Routed | None = None
        outcome: Outcome | None = None
        reply = GONE
        try:
            request = decode_request(body, self._limits)
            if arrival.timeout_s < 0:
                refuse_timeout()
            routed = self._service.route(request, arrival)
            outcome = await self._service.answer(routed, arrival)
            answer = self._encode(routed, outcome, arrival)
            reply = Reply(OK, len(body), len(answer.body), grpc_status="OK")
        except Exception as error:  # noqa: BLE001 - refusal_of logs what nobody meant to raise
            refusal = refusal_of(error)
            request_id = request_id_header(arrival, request.id if request else "")
            answer = GrpcAnswer(((REQUEST_ID, request_id),), refusal=refusal, request=request)
            reply = Reply(refusal.code, len(body), grpc_status=refusal.status.grpc.name, error=refusal.text)
        finally:
            self._recorder.record(arrival, routed, outcome, reply)
        return answer

    def _arrive(self, context: Context) -> Arrival:
        sent = context.invocation_metadata() or ()
        metadata = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in sent}
        left_s = context.time_remaining()
        timeout_s = 0.0 if left_s is None else max(left_s, ALREADY_LATE_S)
        return self._reception.arrive(PROTOCOL, metadata, host_of(context.peer()), timeout_s)

    def _encode(self, routed: Routed, outcome: Outcome, arrival: Arrival) -> GrpcAnswer:
        """Raises what the models failed with, if all did."""
        response = outcome.answer
        if isinstance(response, RunnerError):
            raise response
        attribution = self._attributions.of(routed, outcome)
        request = routed.request
        metadata = (*attribution.grpc_metadata, (REQUEST_ID, request_id_header(arrival, request.id)))
        return GrpcAnswer(metadata, encode_answer(attribution, request.id, response), request=request)


async def abort(context: Context, refusal: Refusal, metadata: Metadata = ()) -> NoReturn:
    """End a call with an error."""
    await context.abort(refusal.status.grpc, refusal.text, metadata)


def host_of(peer: str) -> str:
    """The address out of grpcio's "ipv4:10.0.0.1:5000" or "ipv6:%5B::1%5D:5000"; whatever else it says as it stands."""
    family, _, address = peer.partition(":")
    if family not in ("ipv4", "ipv6"):
        return peer
    return unquote(address).rpartition(":")[0].strip("[]")
