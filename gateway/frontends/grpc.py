"""The gRPC frontend: the Open Inference Protocol as methods, from a message's bytes to an answer's."""

from collections.abc import AsyncGenerator

from gateway.arrival import Arrival, Reply
from gateway.execution.outcome import Outcome, Routed
from gateway.feedback.keys import Keys
from gateway.frontends.attribution import REQUEST_ID, Attributions, request_id_header
from gateway.frontends.grpc_call import Answer, Body, Call
from gateway.frontends.grpc_codec import decode_request, encode_answer
from gateway.frontends.http2.headers import field
from gateway.frontends.limits import DEFAULT_LIMITS, Limits
from gateway.frontends.reception import Reception, refuse_timeout
from gateway.frontends.status import CANCELLED, OK, STATUSES, Refusal, refusal_of
from gateway.recording import Recorder
from gateway.service import Service
from runners.core.errors import RunnerError
from runners.core.tensor import InferenceRequest
from runners.oip import messages

PROTOCOL = "grpc"
GONE = Reply(CANCELLED, grpc_status=STATUSES[CANCELLED].grpc.name)
WANTS_FINAL = "triton_enable_empty_final_response"
FINAL = "triton_final_response"
REQUEST_ID_NAME = REQUEST_ID.encode()


class GrpcFrontend:
    """Turns gRPC calls into inferences and back, and records each request exactly once."""

    def __init__(
        self,
        service: Service,
        recorder: Recorder,
        reception: Reception,
        limits: Limits = DEFAULT_LIMITS,
        *,
        keys: Keys | None = None,
    ) -> None:
        """Without keys answers carry no tokens."""
        self._service = service
        self._recorder = recorder
        self._reception = reception
        self._limits = limits
        self._attributions = Attributions(keys)

    async def infer(self, body: Body, call: Call) -> Answer:
        """ModelInfer."""
        answer, _ = await self._exchange(body, call)
        return answer

    async def stream_infer(self, bodies: AsyncGenerator[Body, None], call: Call) -> AsyncGenerator[bytes, None]:
        """ModelStreamInfer. An error answers its request and leaves the stream open."""
        async for body in bodies:
            answer, request = await self._exchange(body, call)
            streamed = messages.ModelStreamInferResponse()
            if answer.refusal is not None:
                streamed.error_message = answer.refusal.text
                streamed.infer_response.id = request.id if request else ""
            else:
                streamed.infer_response.MergeFromString(answer.body)
                if request and request.parameters.get(WANTS_FINAL):
                    streamed.infer_response.parameters[FINAL].bool_param = True
            yield streamed.SerializeToString()

    def turn_away(self, error: Exception, call: Call) -> Refusal:
        """Record a call whose message could not be had."""
        refusal = refusal_of(error)
        reply = Reply(refusal.code, grpc_status=refusal.status.grpc.name, error=refusal.text)
        self._recorder.record(self._arrive(call), None, None, reply)
        return refusal

    async def _exchange(self, body: Body, call: Call) -> tuple[Answer, InferenceRequest | None]:
        """Answer one request and record it; the only error that leaves here is cancellation."""
        arrival = self._arrive(call)
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
            answer = Answer(metadata=_request_id(arrival, request.id if request else ""), refusal=refusal)
            reply = Reply(refusal.code, len(body), grpc_status=refusal.status.grpc.name, error=refusal.text)
        finally:
            self._recorder.record(arrival, routed, outcome, reply)
        return answer, request

    def _arrive(self, call: Call) -> Arrival:
        return self._reception.arrive(PROTOCOL, call.metadata, call.caller, call.time_left_s())

    def _encode(self, routed: Routed, outcome: Outcome, arrival: Arrival) -> Answer:
        """Raises what the models failed with, if all did."""
        response = outcome.answer
        if isinstance(response, RunnerError):
            raise response
        attribution = self._attributions.of(routed, outcome)
        request_id = routed.request.id
        metadata = attribution.grpc_metadata + _request_id(arrival, request_id)
        return Answer(encode_answer(attribution, request_id, response), metadata)


def _request_id(arrival: Arrival, body_id: str) -> bytes:
    return field(REQUEST_ID_NAME, request_id_header(arrival, body_id).encode())
