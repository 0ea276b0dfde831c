"""`turnout disagreements`: where shadows said something else, from the events that are kept."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from observability.event import Call, Identity, ShadowEvent
from observability.sinks.file import SegmentFiles
from observability.sinks.line import LineEncoder


def shadow(number: int, arm: str, outcome: str, **changes: object) -> ShadowEvent:
    call = Call(arm, "1", f"{arm}-digest", "cpu", "shadow", "ok", "", 1.0, 2.0)
    agreement = 0.5 if outcome == "mismatch" else 1.0
    return ShadowEvent(
        at=1790000000.0 + number,
        event_id=f"e{number}",
        request_id=f"r{number}",
        trace_id="",
        unit_hash="",
        unit_kind="",
        route="fraud",
        revision=1,
        experiment="fraud@1",
        answered_arm="old",
        arm=arm,
        outcome=outcome,
        dropped="",
        agreement=agreement,
        call=call,
        rows=1,
        answered_digest="twin-digest",
        **changes,
    )


@pytest.fixture
def state(tmp_path):
    """A state whose events tell of a candidate that differed twice, and of a twin that never did."""
    encoder = LineEncoder(Identity("gate", "host", 1, "0"), bytes(range(32)))
    files = SegmentFiles(tmp_path / "events", "gate")
    for event in (
        shadow(1, "new", "mismatch", labels=1, flips=1, served='{"y":[1]}', shadowed='{"y":[2]}'),
        shadow(1, "twin", "match"),
        shadow(2, "new", "match"),
        shadow(3, "new", "mismatch", invalid="nan"),
    ):
        files.write(encoder.line(event))
    files.close()
    return tmp_path


def run(state, *words: object):
    return CliRunner().invoke(app, ["disagreements", *map(str, words), "--state", str(state)])


def test_ids_and_both_answers_are_listed_the_latest_first(state):
    told = json.loads(run(state, "fraud", "-o", "json").stdout)

    assert [(each["request_id"], each["arm"]) for each in told["requests"]] == [("r3", "new"), ("r1", "new")]
    assert (told["requests"][1]["served"], told["requests"][1]["shadowed"]) == ('{"y":[1]}', '{"y":[2]}')
    assert {arm["arm"]: arm["is_twin"] for arm in told["arms"]} == {"new": False, "twin": True}
    assert told["arms"][0]["differ"]["n"] == 2


def test_people_get_a_sentence_for_each_arm_and_a_table(state):
    printed = run(state, "fraud").stdout

    assert "new: 2 of 3 answers differ (66.67%), 1 of 1 labels flip, 1 could not stand in (nan); beside twin" in printed
    assert "twin: 0 of 1 answers differ (0.00%); it has the model that answers, so this is the noise floor" in printed
    assert '{"y":[1]}' in printed
    assert "invalid: nan" in printed


def test_one_arm_and_a_limit_narrow_it(state):
    told = json.loads(run(state, "fraud", "--arm", "new", "--limit", 1, "-o", "json").stdout)
    assert ([arm["arm"] for arm in told["arms"]], len(told["requests"])) == (["new"], 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["other"], "no shadow call of route 'other'"),
        (["fraud", "--arm", "old"], "there is new, twin"),
        (["fraud", "--events", "nowhere"], "--events names their directory"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(state, words, said):
    found = run(state, *words)
    assert (found.exit_code, said in found.stderr) == (2, True)
