"""Who answered, under our own names."""

import json
from urllib.parse import unquote

import pytest
from msgspec.structs import replace

from gateway.frontends.attribution import KNOWN_LIMIT, Attributions, attribute, request_id_header
from gateway.frontends.reception import Reception
from observability.tracing import Tracing
from runners.core.errors import ExecutionFailed
from runners.oip.messages import ModelInferResponse
from strategies.core.merge import Merge, Mode
from strategies.core.plan import Decision


async def test_an_answer_says_who_gave_it(stage, make_tensor) -> None:
    """Arm, version, revision and reason are in the headers."""
    reply = await stage.infer("ramped", {"inputs": [make_tensor()]})
    assert {
        b"x-turnout-arm": b"ramped-1",
        b"x-turnout-version": b"v2",
        b"x-turnout-revision": b"3",
        b"x-turnout-reason": b"only_arm",
    } == {name: value for name, value in reply.headers.items() if name.startswith(b"x-turnout")}


async def test_the_same_is_said_in_the_body(stage, make_tensor) -> None:
    """A client library that hides headers still shows which arm answered."""
    document = (await stage.infer("ramped", {"inputs": [make_tensor()]})).json()
    expected = {
        "turnout_arm": "ramped-1",
        "turnout_version": "v2",
        "turnout_revision": 3,
        "turnout_reason": "only_arm",
    }
    assert expected == document["parameters"]


async def test_a_fallback_is_named_with_its_cause(stage, make_endpoint, make_tensor) -> None:
    """A client can see that another arm stepped in, and why."""
    plain = stage.router.table.routes["plain"].baseline.endpoint
    stage.route("broken", plain, make_endpoint(ExecutionFailed("no"), "v9"))
    reply = await stage.infer("broken", {"inputs": [make_tensor()]})
    assert (b"broken-0", b"error") == (reply.headers[b"x-turnout-arm"], reply.headers[b"x-turnout-fallback"])
    assert ("v1", "error") == (reply.json()["model_version"], reply.json()["parameters"]["turnout_fallback"])


async def test_an_attribution_is_made_once(stage, make_tensor) -> None:
    """Requests that meet the same arm for the same reason share one."""
    for _ in range(2):
        await stage.infer("ramped", {"inputs": [make_tensor()]})
    first, second = stage.records
    attributions = Attributions()
    assert attributions.of(first.routed, first.outcome) is attributions.of(second.routed, second.outcome)


async def test_what_is_kept_is_bounded(stage, make_tensor) -> None:
    """Publishing a thousand times does not fill the memory."""
    attributions = Attributions()
    for _ in range(KNOWN_LIMIT + 1):
        attributions._known[object()] = None
    await stage.infer("plain", {"inputs": [make_tensor()]})
    attributions.of(stage.records[0].routed, stage.records[0].outcome)
    assert 1 == len(attributions._known)


@pytest.mark.parametrize(
    ("reason", "header", "parameter", "value"),
    [
        ("", "x-turnout-interleaved", "turnout_interleaved", "plain-0+plain-0"),
        ("timeout", "x-turnout-not-interleaved", "turnout_not_interleaved", "timeout"),
    ],
)
async def test_a_merged_answer_says_so_or_why_it_is_none(stage, make_tensor, reason, header, parameter, value) -> None:
    """In headers and parameters of both protocols; an outcome of the other kind gets an attribution of its own."""
    await stage.infer("plain", {"inputs": [make_tensor()]})
    routed, outcome = stage.records[0].routed, stage.records[0].outcome
    plan = replace(routed.decision.plan, serve=routed.decision.plan.serve * 2, merge=Merge(Mode.BOTH))
    routed = replace(routed, decision=Decision(plan))
    attributions = Attributions()
    attributions.of(routed, replace(outcome, not_interleaved="" if reason else "timeout"))
    made = attributions.of(routed, replace(outcome, not_interleaved=reason))

    names = dict(line.split(": ", 1) for line in made.head_lines.decode().splitlines())
    assert {name for name in names if "interleaved" in name} == {header}
    assert unquote(names[header]) == value
    assert json.loads(made.json_head + b"}")["parameters"][parameter] == value
    assert ModelInferResponse.FromString(made.grpc_head).parameters[parameter].string_param == value


@pytest.mark.parametrize("name", ["münchen", "a b", "a\r\nx: y", "日本"])
async def test_names_beyond_ascii_are_quoted_in_headers(stage, make_tensor, name) -> None:
    """An operator's name cannot break a response, whatever it is spelled with."""
    await stage.infer("plain", {"inputs": [make_tensor()]})
    routed, outcome = stage.records[0].routed, stage.records[0].outcome
    made = attribute(routed.route, routed.decision.plan, outcome.answered, name)
    value = dict(line.split(b": ", 1) for line in made.head_lines.splitlines())[b"x-turnout-fallback"]
    assert value.isascii()
    assert value.decode().isprintable()
    assert b" " not in value
    assert name == ModelInferResponse.FromString(made.grpc_head).parameters["turnout_fallback"].string_param


@pytest.mark.parametrize(
    ("header", "body_id", "expected"),
    [
        (b"h-1", "b-1", "h-1"),
        (None, "b-1", "b-1"),
        (b"h\r\n1", "b-1", "b-1"),
        (b"x" * 129, "b-1", "b-1"),
        (b"\xff", "b-1", "b-1"),
        (None, "Zürich", None),
        (None, "x" * 129, None),
        (None, "a\r\nb", None),
        (None, "", None),
    ],
)
def test_a_request_id_goes_back_if_a_header_can_carry_it(header, body_id, expected) -> None:
    """The caller's id is echoed: the header's, else the body's, else one of our own."""
    metadata = {} if header is None else {b"x-request-id": header}
    arrival = Reception(Tracing()).arrive("http", metadata, "")
    assert (expected or arrival.event_id) == request_id_header(arrival, body_id)
