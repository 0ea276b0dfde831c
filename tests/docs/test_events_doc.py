"""docs/events.md is held to the event types, and its examples to what the writer really writes."""

import json
import re
import shutil
import subprocess
import typing
from pathlib import Path
from types import NoneType, UnionType

import msgspec
import pytest

from observability.event import (
    Call,
    FeedbackEvent,
    Identity,
    Interleaving,
    LifeEvent,
    RequestEvent,
    ShadowEvent,
    ShownRow,
)
from observability.sinks.line import LineEncoder

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
KINDS = {
    "request": RequestEvent,
    "shadow": ShadowEvent,
    "feedback": FeedbackEvent,
    "life": LifeEvent,
    "call": Call,
    "interleaving": Interleaving,
    "row": ShownRow,
    "writer": Identity,
}
WORDS = {
    str: "text",
    int: "integer",
    float: "number",
    NoneType: "null",
    Call: "call",
    ShownRow: "row",
    Interleaving: "interleaving",
}

DIGESTS = ("9f2c" * 16, "41d7" * 16, "e03b" * 16)
FAILED = Call("fraud-8", "8", DIGESTS[0], "CPUExecutionProvider", "serve", "failed", "timeout", 0.25, 90.5)
ANSWERED = Call("fraud-7", "7", DIGESTS[1], "CPUExecutionProvider", "fallback", "ok", "", 91.0, 1.5)
SHADOWED = Call("fraud-9", "9", DIGESTS[2], "CPUExecutionProvider", "shadow", "ok", "", 95.0, 2.25)
REQUEST = RequestEvent(
    at=1790000000.125,
    event_id="5d41c8b0e6a7f2930000000004d2",
    request_id="order-4711",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    span_id="00f067aa0ba902b7",
    unit_hash="account-42",
    unit_kind="x-account-id",
    attributes={"country": "nz"},
    route="fraud",
    revision=12,
    experiment="fraud@9",
    strategy="canary",
    assigned_arm="fraud-8",
    answered_arm="fraud-7",
    share_ppm=50_000,
    reason="split",
    shadows=("fraud-9",),
    calls=(FAILED, ANSWERED),
    fallback_cause="timeout",
    status="ok",
    error="",
    protocol="http",
    http_status=200,
    grpc_status="",
    rows=1,
    request_bytes=181,
    response_bytes=243,
    duration_ms=93.0,
    deadline_ms=1000.0,
    caller="10.0.0.7",
)
SHADOW = ShadowEvent(
    at=1790000000.125,
    event_id="5d41c8b0e6a7f2930000000004d2",
    request_id="order-4711",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    unit_hash="account-42",
    unit_kind="x-account-id",
    route="fraud",
    revision=12,
    experiment="fraud@9",
    answered_arm="fraud-7",
    arm="fraud-9",
    outcome="mismatch",
    dropped="",
    agreement=0.5,
    call=SHADOWED,
    rows=1,
    answered_digest=DIGESTS[1],
    answered_ms=1.5,
    max_abs=0.25,
    max_rel=0.5,
    labels=1,
    flips=1,
    lists=1,
    tau=-1.0,
    rbo=0.9,
    served='{"y":[0.5,0.25]}',
    shadowed='{"y":[0.25,0.5]}',
)
LIFE = LifeEvent(
    at=1790000000.0,
    kind="arm_degraded",
    route="fraud",
    arm="fraud-8",
    message="CUDAExecutionProvider is not available",
    revision=12,
    digest=DIGESTS[0],
    provider="CPUExecutionProvider",
)
FEEDBACK = FeedbackEvent(
    at=1790000042.5,
    event_id="5d41c8b0e6a7f2930000000004d2",
    route="shop",
    experiment="shop@9",
    age_s=42.375,
    rows=(0, 0),
    items=("4711", "4712"),
    results=("accepted", "duplicate"),
    caller="10.0.0.7",
)
MERGED = RequestEvent(
    at=1790000000.125,
    event_id="5d41c8b0e6a7f2930000000004d3",
    request_id="order-4712",
    route="shop",
    revision=9,
    experiment="shop@9",
    strategy="interleave",
    answered_arm="old",
    share_ppm=1_000_000,
    reason="split",
    status="ok",
    protocol="http",
    http_status=200,
    rows=1,
    interleaving=Interleaving(
        method="team_draft",
        salt="shop/0",
        rankers=("old", "new"),
        rows=(
            ShownRow(
                0, (("4711", "4712", "4713"), ("4711", "4720", "4713")), ("4711", "4720", "4712"), ("", "new", "old")
            ),
        ),
    ),
)
WRITER = Identity(gateway="gate-1", host="host-a", process=4711, code_version="0.1.0")
ENCODER = LineEncoder(WRITER, bytes(range(32)))
EVENTS = {"request": REQUEST, "shadow": SHADOW, "feedback": FEEDBACK, "life": LIFE, "interleaving": MERGED}


def section(kind):
    return re.search(rf"^## [^\n]*`{kind}`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def rows(kind):
    """The field table of a section, as (name, type, example)."""
    lines = re.findall(r"^\|(.*)\|$", section(kind), re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [(name.strip("`"), kind_of, example.strip("`")) for name, kind_of, _unit, _meaning, example in cells[2:]]


def words(annotation):
    """A field's type in the words of the page."""
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation) or annotation:
        case origin if origin is tuple:
            return f"list of {words(arguments[0])}"
        case origin if origin is dict:
            return "map of text"
        case origin if origin is UnionType:
            return " or ".join(words(argument) for argument in arguments)
        case plain:
            return WORDS[plain]


def example_of(kind):
    """A line as the page shows it, decoded."""
    if kind == "call":
        return example_of("request")["calls"][0]
    if kind == "row":
        return example_of("interleaving")["rows"][0]
    if kind == "writer":
        return example_of("life")
    line = json.loads(re.search(r"```json\n(.*?)\n```", section(kind), re.DOTALL)[1])
    return line["interleaving"] if kind == "interleaving" else line


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_listed_with_its_type(kind):
    """A reader of the log can look up every field, in the order in which it stands there."""
    expected = [(field.encode_name, words(field.type)) for field in msgspec.structs.fields(KINDS[kind])]
    assert expected == [(name, kind_of) for name, kind_of, _ in rows(kind)]


@pytest.mark.parametrize("kind", EVENTS)
def test_the_example_is_what_the_writer_writes(kind):
    """The line on the page is a real one, byte for byte."""
    assert f"```json\n{ENCODER.line(EVENTS[kind]).decode()}```" in section(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_each_fields_example_is_taken_from_the_line(kind):
    """Table and example line say the same."""
    line = example_of(kind)
    for name, _, example in rows(kind):
        if not name.startswith("calls") and name not in ("call", "rows" if kind == "interleaving" else ""):
            assert (name, line[name]) == (name, json.loads(example))


def test_every_reason_for_a_loss_is_explained():
    """Whoever sees a drop counter rise finds out what it means."""
    for reason in ("queue_full", "write_failed", "encode_failed", "closed"):
        assert f"`{reason}`" in PAGE


def test_the_jq_query_runs(tmp_path):
    """The query on the page answers what it says, on the lines of the page."""
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    command = re.search(r"```sh\n(jq .*?)```", PAGE, re.DOTALL)[1]
    segment = tmp_path / ".turnout" / "events" / "gate-1" / "00000001.jsonl"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"".join(ENCODER.line(event) for event in EVENTS.values()))
    ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = {"request_id": "order-4711", "failed": "fraud-8", "cause": "timeout", "answered": "fraud-7"}
    assert expected == json.loads(ran.stdout)
