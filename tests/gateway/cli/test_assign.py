"""`turnout assign` for what was published."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.publishing.change import Apply, Request
from gateway.publishing.publisher import Publisher
from gateway.publishing.rehearsal import Rehearsal
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf

ROUTE = """\
turnout: v1
route: digits
arms:
  old: {model: "file:old.onnx", role: baseline}
  new: {model: "file:new.onnx", role: candidate}
strategy: {kind: ab, shares: {new: %s}}
"""


@pytest.fixture
async def state(tmp_path):
    """A state with two revisions: nobody meets the new arm, then everybody does. No model is there."""
    shelf = Shelf(tmp_path / "state")
    publisher = Publisher(shelf, tmp_path, Rehearsal(is_opening=False))
    for share in ("0%", "100%"):
        change = Apply({"routes/digits.yaml": ROUTE % share})
        await publisher.publish(Request(change, "ann", Cause.APPLY))
    shelf.close()
    return tmp_path / "state"


def assign(state, *options):
    arguments = ["assign", "digits", "--units", "-", "--state", str(state), *map(str, options)]
    return CliRunner().invoke(app, arguments, input="ann\nbob\n")


@pytest.mark.parametrize(("revision", "arm"), [(1, "old"), (2, "new")])
def test_a_past_revision_tells_whom_its_units_met(state, revision, arm):
    """An answer that names its revision can be checked, whatever has changed since."""
    outcome = assign(state, "--revision", revision)

    told = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [(each["unit"], each["arm"], each["revision"]) for each in told] == [
        ("ann", arm, revision),
        ("bob", arm, revision),
    ]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--revision", 3), "there is no revision 3; the latest is 2"),
        (("--revision", 1, "--step", "digits=1"), "--step is for a config directory"),
        (("--server", "127.0.0.1:1"), "--server needs --revision"),
    ],
)
def test_what_cannot_be_told_is_refused(state, options, why):
    outcome = assign(state, *options)

    assert outcome.exit_code == 2
    assert why in outcome.stderr
