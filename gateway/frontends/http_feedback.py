"""POST /v1/feedback: clicks on a merged list, by the token that its answer carried."""

import time
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from msgspec import Meta, Struct, json
from msgspec.structs import replace

from gateway.errors import Malformed, MethodNotAllowed
from gateway.feedback.intake import DUPLICATE, FOREIGN, FORGED, LATE, ClickedItem, Intake, Taken
from gateway.frontends.http_body import read_body
from gateway.frontends.http_exchange import JSON_LINE, LENGTH_LINE, Exchange
from gateway.frontends.limits import Limits
from gateway.frontends.status import refusal_of
from gateway.recording import TEXT_LIMIT, Recorder
from observability.event import FeedbackEvent

PATH = "/v1/feedback"
VERBS = ("POST",)
BODY_BYTES = 1 << 18  # a token of the largest kind and all clicks that may come with it
CLICKS_LIMIT = 256
TOKEN_STATUSES: Mapping[str, int] = MappingProxyType({FORGED: 403, FOREIGN: 403, LATE: 410})


class FeedbackBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is posted."""

    token: str
    clicks: Annotated[list[ClickedItem], Meta(min_length=1, max_length=CLICKS_LIMIT)]


class HttpFeedback:
    """Answers posts with what each click came to. A click is told as accepted once it is stored, not before."""

    def __init__(self, intake: Intake, recorder: Recorder, limits: Limits) -> None:
        self._intake = intake
        self._recorder = recorder
        self._limits = replace(limits, body_bytes=min(BODY_BYTES, limits.body_bytes))

    async def __call__(self, exchange: Exchange) -> None:
        try:
            _check_verb(exchange.method)
            posted = _parse(await read_body(exchange, self._limits))
            taken = await self._intake.take(posted.token, posted.clicks)
        except Exception as error:  # noqa: BLE001 - refusal_of logs what nobody meant to raise
            refusal = refusal_of(error)
            again = f"retry-after: {refusal.status.retry_after_s}\r\n" if refusal.status.retry_after_s else ""
            allow = f"allow: {', '.join(VERBS)}\r\n" if isinstance(error, MethodNotAllowed) else ""
            _answer(exchange, refusal.status.http, {"error": refusal.text, "code": refusal.code}, again + allow)
            return
        self._record(exchange, posted, taken)
        if taken.sealed is None:
            code = taken.results[0]
            _answer(exchange, TOKEN_STATUSES[code], {"error": taken.fault, "code": code})
        else:
            _answer(exchange, 200, _told(posted, taken))

    def _record(self, exchange: Exchange, posted: FeedbackBody, taken: Taken) -> None:
        now, sealed = time.time(), taken.sealed
        self._recorder.record_feedback(
            FeedbackEvent(
                at=now,
                event_id=sealed.event_id if sealed else "",
                route=sealed.route if sealed else "",
                experiment=sealed.experiment if sealed else "",
                age_s=now - sealed.shown_at if sealed else 0.0,
                rows=tuple([click.row for click in posted.clicks]) if sealed else (),
                items=tuple([str(click.item)[:TEXT_LIMIT] for click in posted.clicks]) if sealed else (),
                results=taken.results if sealed else (taken.results[0],),
                caller=exchange.caller,
            )
        )


def _check_verb(verb: str) -> None:
    if verb not in VERBS:
        raise MethodNotAllowed(VERBS)


def _parse(body: bytes | bytearray) -> FeedbackBody:
    try:
        return _decode(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(
            f'the body is no feedback: {error}; write it like {{"token": "…", "clicks": [{{"row": 0, "item": "id"}}]}}'
        ) from None


def _told(posted: FeedbackBody, taken: Taken) -> dict[str, object]:
    counts = Counter(taken.results)
    clicks = [
        {"row": click.row, "item": click.item, "result": result}
        for click, result in zip(posted.clicks, taken.results, strict=True)
    ]
    return {"accepted": counts["accepted"], "duplicate": counts[DUPLICATE], "clicks": clicks}


def _answer(exchange: Exchange, status: int, document: Mapping[str, object], more_lines: str = "") -> None:
    body = json.encode(document)
    exchange.reply(status, JSON_LINE + LENGTH_LINE % len(body) + more_lines.encode(), body)


_decode = json.Decoder(FeedbackBody).decode
