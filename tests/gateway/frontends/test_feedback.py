"""Clicks over HTTP: the token comes with the answer on both protocols, and every post is told what it came to."""

import json
from fractions import Fraction

import pytest
from msgspec.structs import replace

from gateway.execution.outcome import Impression, Outcome, Routed
from gateway.feedback.intake import Intake
from gateway.feedback.token import unseal
from gateway.frontends.attribution import Attributions
from gateway.frontends.discovery import Discovery
from gateway.frontends.http import HttpFrontend
from gateway.frontends.http_feedback import CLICKS_LIMIT
from gateway.frontends.reception import Reception
from gateway.link import Clicked
from observability.event import FeedbackEvent
from observability.tracing import Tracing
from runners.oip.messages import ModelInferResponse

PATH = "/v1/feedback"
NOW = 1_000.0
SHARES = ((Fraction(1), Fraction(0)), (Fraction(0), Fraction(1)))
LIST = Impression(0, ("a", "7"), ("plain-0", "fresh"), SHARES)


class Interleaving:
    """A service whose every answer is a merged list."""

    def __init__(self, inner) -> None:
        self._inner = inner

    def route(self, request, arrival) -> Routed:
        return self._inner.route(request, arrival)

    async def answer(self, routed, arrival) -> Outcome:
        return replace(await self._inner.answer(routed, arrival), impressions=(LIST,))


@pytest.fixture
def clicked() -> list[Clicked]:
    return []


@pytest.fixture
def events() -> list[FeedbackEvent]:
    return []


@pytest.fixture
def intake(clicked) -> Intake:
    """One whose clicks are kept at once, and are new."""
    intake = Intake(b"k" * 32, 1e12)

    def keep(message: Clicked) -> None:
        clicked.append(message)
        intake.answer(message.number, ["accepted"] * len(message.clicks))

    intake.connect(keep)
    return intake


@pytest.fixture
def shop(stage, intake, events):
    """The stage with merged lists behind its HTTP side."""
    stage.recorder.record_feedback = events.append
    discovery = Discovery(stage.router, stage.readiness, "1.2.3")
    service = Interleaving(stage.service)
    stage.http = HttpFrontend(service, stage.recorder, Reception(Tracing()), discovery, intake=intake)
    return stage


async def token_of(shop, make_tensor) -> str:
    answer = await shop.infer("plain", {"inputs": [make_tensor()]})
    return answer.json()["parameters"]["turnout_token"]


async def post(shop, document: object):
    return await shop.ask("POST", PATH, json.dumps(document).encode())


async def test_an_answer_carries_a_token_that_credits_its_clicks(shop, make_tensor, clicked, events) -> None:
    """From the answer to the vote, as whoever shows the list sees it."""
    token = await token_of(shop, make_tensor)
    clicks = [{"row": 0, "item": 7}, {"row": 0, "item": "b"}]
    answer = await post(shop, {"token": token, "clicks": clicks})
    results = ["accepted", "unknown_item"]
    assert 200 == answer.status
    assert {
        "accepted": 1,
        "duplicate": 0,
        "clicks": [each | {"result": result} for each, result in zip(clicks, results, strict=True)],
    } == answer.json()
    ((click,),) = [message.clicks for message in clicked]
    assert ("plain@3", ("plain-0", "fresh"), (0, 1_000_000)) == (click.experiment, click.rankers, click.credits)
    assert shop.records[0].routed.facts.event_id == click.event_id == events[0].event_id
    assert (("7", "b"), tuple(results)) == (events[0].items, events[0].results)


async def test_an_answer_without_merged_lists_carries_no_token(stage, make_tensor) -> None:
    answer = await stage.infer("plain", {"inputs": [make_tensor()]})
    assert "turnout_token" not in answer.json()["parameters"]
    assert 404 == (await stage.ask("POST", PATH, b"{}")).status


async def test_the_token_comes_over_grpc_too(shop, intake, make_tensor) -> None:
    await token_of(shop, make_tensor)
    record = shop.records[0]
    attribution = Attributions(intake.keys).of(record.routed, record.outcome)
    message = ModelInferResponse.FromString(attribution.grpc_head)
    sealed = unseal(intake.keys, message.parameters["turnout_token"].string_param, now=0.0, window_s=1e12)
    assert (record.routed.facts.event_id, "plain") == (sealed.event_id, sealed.route)
    assert "plain-0" == message.parameters["turnout_arm"].string_param


async def test_a_forged_token_is_refused_and_recorded(shop, make_tensor, clicked, events) -> None:
    token = await token_of(shop, make_tensor)
    answer = await post(shop, {"token": token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), "clicks": [{"item": "a"}]})
    assert (403, "forged") == (answer.status, answer.json()["code"])
    assert ([], ("forged",), "") == (clicked, events[0].results, events[0].event_id)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"token": "x"},
        {"token": "x", "clicks": []},
        {"token": 1, "clicks": [{"item": "a"}]},
        {"token": "x", "clicks": [{"row": 0}]},
        {"token": "x", "clicks": [{"item": 1.5}]},
        {"token": "x", "clicks": [{"item": "a", "row": "0"}]},
        {"token": "x", "clicks": [{"item": "a", "grade": 5}]},
        {"token": "x", "clicks": [{"item": "a"}], "unit": "u"},
        {"token": "x", "clicks": [{"item": "a"}] * (CLICKS_LIMIT + 1)},
    ],
)
async def test_what_is_no_feedback_is_refused_with_a_pattern_to_follow(shop, document, events) -> None:
    answer = await post(shop, document)
    assert (400, "malformed", []) == (answer.status, answer.json()["code"], events)
    assert "write it like" in answer.json()["error"]


async def test_only_posts_are_taken_and_no_large_ones(shop) -> None:
    got = await shop.ask("GET", PATH)
    assert (405, b"POST", "method_not_allowed") == (got.status, got.headers[b"allow"], got.json()["code"])
    large = await shop.ask("POST", PATH, b" " * (1 << 20))
    assert (413, "too_large") == (large.status, large.json()["code"])


async def test_clicks_that_nobody_keeps_are_to_be_sent_again(shop, intake, make_tensor, events) -> None:
    """When the control process is away clients wait, and nothing is lost or counted twice."""
    token = await token_of(shop, make_tensor)
    intake.disconnect()
    answer = await post(shop, {"token": token, "clicks": [{"item": "a"}]})
    assert (503, "not_ready", b"1") == (answer.status, answer.json()["code"], answer.headers[b"retry-after"])
    assert "send it again" in answer.json()["error"]
