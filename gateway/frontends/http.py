"""The HTTP frontend: an ASGI application that speaks the Open Inference Protocol.

An inference takes the short way in here, everything else the long one through http_documents.py.
"""

from asyncio import CancelledError
from collections.abc import Awaitable, Mapping

from gateway.arrival import Arrival, Reply
from gateway.errors import Draining
from gateway.execution.outcome import Outcome, Routed
from gateway.frontends.asgi import CLOSE, JSON_TYPE, Header, Receive, Scope, Send, send_bytes, send_refusal
from gateway.frontends.attribution import REQUEST_ID, Attribution, Attributions, request_id_header
from gateway.frontends.discovery import Discovery
from gateway.frontends.http_body import ClientGone, check_length, read_rest
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
from gateway.frontends.http_protocol import ANSWER
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
REQUEST_ID_NAME = REQUEST_ID.encode()
BINARY_TYPE: Header = (b"content-type", b"application/octet-stream")
JSON_LINE = b"content-type: application/json\r\n"
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
    ) -> None:
        self._service = service
        self._recorder = recorder
        self._reception = reception
        self._discovery = discovery
        self._limits = limits
        self._documents = HttpDocuments(discovery, limits)
        self._attributions = Attributions()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request, as ASGI has it."""
        path: str = scope.get("path", "").rstrip("/")
        if path.endswith(INFER) and path.startswith(MODELS) and scope["method"] == "POST":
            return self._infer(scope, receive, send, path[len(MODELS) : -len(INFER)])
        return self._documents(scope, receive, send)

    async def _infer(self, scope: Scope, receive: Receive, send: Send, target: str) -> None:
        headers = dict(scope["headers"])
        client = scope["client"]
        arrival = self._reception.arrive(PROTOCOL, headers, client[0] if client else "")
        body: bytes | bytearray | None = None
        routed: Routed | None = None
        outcome: Outcome | None = None
        reply = GONE
        try:
            check_length(headers, self._limits.body_bytes)
            message = await receive()
            body = message.get("body", b"")
            if message.get("more_body", True) or ENCODING in headers or len(body) > self._limits.body_bytes:
                body = None
                body = await read_rest(message, receive, headers, self._limits)
            decoded = self._decode(target, body, headers)
            if arrival.timeout_s < 0:
                refuse_timeout()
            routed = self._service.route(decoded.request, arrival)
            outcome = await self._service.answer(routed, arrival)
            attribution, payload, json_n = self._encode(routed, outcome, decoded.wish)
            request_id = request_id_header(arrival, decoded.request.id).encode()
            write = scope["extensions"].get(ANSWER) if "extensions" in scope else None
            if write is None or not write(_lines(attribution, request_id, payload, json_n), payload):
                await send_bytes(send, 200, payload, *_headers(attribution, request_id, json_n))
            reply = Reply(OK, len(body), len(payload), 200)
        except ClientGone:
            pass
        except CancelledError:  # the caller hung up and hears nothing, or the server stops; the server knows which
            if outcome is None:
                await self._refuse(send, Draining("the server is stopping"), arrival, body)
        except Exception as error:  # noqa: BLE001 - refusal_of logs what nobody meant to raise
            reply = await self._refuse(send, error, arrival, body)
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

    async def _refuse(self, send: Send, error: Exception, arrival: Arrival, body: bytes | bytearray | None) -> Reply:
        """Tell the caller. A body that was not read to its end takes the connection with it."""
        refusal = refusal_of(error)
        request_id = (REQUEST_ID_NAME, request_id_header(arrival, "").encode())
        sent_n = await send_refusal(send, refusal, request_id, *((CLOSE,) if body is None else ()))
        return Reply(refusal.code, len(body or b""), sent_n, refusal.status.http, error=refusal.text)


def _lines(attribution: Attribution, request_id: bytes, body: bytes, json_n: int) -> bytes:
    kind = BINARY_LINES % json_n if json_n else JSON_LINE
    return ANSWER_LINES % (kind, attribution.head_lines, request_id, len(body))


def _headers(attribution: Attribution, request_id: bytes, json_n: int) -> tuple[Header, ...]:
    identified = (REQUEST_ID_NAME, request_id)
    if not json_n:
        return JSON_TYPE, *attribution.http_headers, identified
    return BINARY_TYPE, (JSON_LENGTH, b"%d" % json_n), *attribution.http_headers, identified
