"""The HTTP frontend: turns exchanges into inferences and back, in the words of the Open Inference Protocol.

An inference takes the short way in here, everything else the long one through http_documents.py.
"""

from asyncio import CancelledError
from collections.abc import Awaitable, Mapping

from gateway.arrival import Arrival, Reply
from gateway.errors import Draining
from gateway.execution.outcome import Outcome, Routed
from gateway.feedback.intake import Intake
from gateway.frontends.attribution import Attribution, Attributions, request_id_header
from gateway.frontends.discovery import Discovery
from gateway.frontends.http_body import read_body
from gateway.frontends.http_codec import (
    BinaryWish,
    Decoded,
    decode_binary,
    decode_json,
    decode_raw,
    encode_binary,
    encode_json,
)
from gateway.frontends.http_documents import HttpDocuments
from gateway.frontends.http_exchange import JSON_LINE, Exchange
from gateway.frontends.http_feedback import PATH as FEEDBACK
from gateway.frontends.http_feedback import HttpFeedback
from gateway.frontends.limits import DEFAULT_LIMITS, Limits
from gateway.frontends.reception import Reception, refuse_timeout
from gateway.frontends.status import CANCELLED, OK, STATUSES, refusal_of
from gateway.recording import Recorder
from gateway.service import Service
from runners.core.errors import RunnerError

PROTOCOL = "http"
MODELS = "/v2/models/"
VERSIONS = "/versions/"
INFER = "/infer"
ENCODING = b"content-encoding"
JSON_LENGTH = b"inference-header-content-length"
ID_LINE = b"x-request-id: %b\r\n"
BINARY_LINES = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
ANSWER_LINES = b"%b%bx-request-id: %b\r\ncontent-length: %d\r\n"
GONE = Reply(CANCELLED, http_status=STATUSES[CANCELLED].http)


class HttpFrontend:
    """Turns HTTP requests into inferences and back, and records each exactly once."""

    def __init__(
        self,
        service: Service,
        recorder: Recorder,
        reception: Reception,
        discovery: Discovery,
        limits: Limits = DEFAULT_LIMITS,
        *,
        intake: Intake | None = None,
    ) -> None:
        """Without an intake nobody takes clicks, and answers carry no tokens."""
        self._service = service
        self._recorder = recorder
        self._reception = reception
        self._discovery = discovery
        self._limits = limits
        self._documents = HttpDocuments(discovery, limits)
        self._feedback = HttpFeedback(intake, recorder, limits) if intake else None
        self._attributions = Attributions(intake.keys if intake else None)

    def __call__(self, exchange: Exchange) -> Awaitable[None]:
        """Answer one request."""
        path = exchange.path.rstrip("/")
        if path.endswith(INFER) and path.startswith(MODELS) and exchange.method == "POST":
            return self._infer(exchange, path[len(MODELS) : -len(INFER)])
        if path == FEEDBACK and self._feedback is not None:
            return self._feedback(exchange)
        return self._documents(exchange)

    async def _infer(self, exchange: Exchange, target: str) -> None:
        headers = exchange.headers
        arrival = self._reception.arrive(PROTOCOL, headers, exchange.caller)
        body: bytes | bytearray | None = None
        routed: Routed | None = None
        outcome: Outcome | None = None
        reply = GONE
        try:
            body = exchange.whole_body()
            if body is None or ENCODING in headers or len(body) > self._limits.body_bytes:
                body = None
                body = await read_body(exchange, self._limits)
            decoded = self._decode(target, body, headers)
            if arrival.timeout_s < 0:
                refuse_timeout()
            routed = self._service.route(decoded.request, arrival)
            outcome = await self._service.answer(routed, arrival)
            attribution, payload, json_n = self._encode(routed, outcome, decoded.wish)
            request_id = request_id_header(arrival, decoded.request.id).encode()
            exchange.reply(200, _lines(attribution, request_id, payload, json_n), payload)
            reply = Reply(OK, len(body), len(payload), 200)
        except CancelledError:  # the caller hung up and hears nothing, or the server stops; the server knows which
            if outcome is None:
                self._refuse(exchange, Draining("the server is stopping"), arrival, body)
        except Exception as error:  # noqa: BLE001 - refusal_of logs what nobody meant to raise
            reply = self._refuse(exchange, error, arrival, body)
        finally:
            self._recorder.record(arrival, routed, outcome, reply)

    def _decode(self, target: str, body: bytes | bytearray, headers: Mapping[bytes, bytes]) -> Decoded:
        """`target` is what stands between /v2/models/ and /infer."""
        model, _, version = target.partition(VERSIONS) if "/" in target else (target, "", "")
        if JSON_LENGTH not in headers:
            return decode_json(body, model, version, self._limits)
        json_length = headers[JSON_LENGTH]
        if json_length == b"0":
            return decode_raw(body, self._discovery.signature(model, version), model, version, self._limits)
        return decode_binary(body, json_length, model, version, self._limits)

    def _encode(self, routed: Routed, outcome: Outcome, wish: BinaryWish | None) -> tuple[Attribution, bytes, int]:
        """The body, and the length of its JSON if tensors in binary follow. Raises what the models failed with."""
        answer = outcome.answer
        if isinstance(answer, RunnerError):
            raise answer
        attribution = self._attributions.of(routed, outcome)
        if wish is None:
            return attribution, encode_json(attribution, routed.request.id, answer), 0
        return attribution, *encode_binary(attribution, routed.request.id, answer, wish)

    def _refuse(self, exchange: Exchange, error: Exception, arrival: Arrival, body: bytes | bytearray | None) -> Reply:
        """Tell the caller."""
        refusal = refusal_of(error)
        request_id = ID_LINE % request_id_header(arrival, "").encode()
        sent_n = exchange.refuse(refusal, request_id)
        return Reply(refusal.code, len(body or b""), sent_n, refusal.status.http, error=refusal.text)


def _lines(attribution: Attribution, request_id: bytes, body: bytes, json_n: int) -> bytes:
    kind = BINARY_LINES % json_n if json_n else JSON_LINE
    return ANSWER_LINES % (kind, attribution.head_lines, request_id, len(body))
