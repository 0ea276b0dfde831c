"""`turnout diff` as a script in CI meets it."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app

ROUTE = """\
turnout: v1
route: digits
arms:
  old: {model: "file:old.onnx", role: baseline}
  new: {model: "file:new.onnx", role: candidate}
strategy: {kind: ab, shares: {new: 5%}}
"""


@pytest.fixture
def directories(tmp_path):
    for name in ("before", "after"):
        (tmp_path / name / "routes").mkdir(parents=True)
        (tmp_path / name / "routes" / "digits.yaml").write_text(ROUTE)
        (tmp_path / name / "new.onnx").write_bytes(b"one")
    return tmp_path


def diff(directories, *options):
    return CliRunner().invoke(app, ["diff", str(directories / "before"), str(directories / "after"), *options])


def test_the_same_is_0(directories):
    outcome = diff(directories)

    assert (outcome.exit_code, outcome.stdout) == (0, "no difference\n")


def test_a_difference_is_1_and_told_to_programs_too(directories):
    (directories / "after" / "routes" / "digits.yaml").write_text(ROUTE.replace("5%", "7%"))
    outcome = diff(directories, "-o", "json")
    (told,) = json.loads(outcome.stdout)

    assert outcome.exit_code == 1
    assert [(move["from"], move["to"], move["share_ppm"]) for move in told["moves"]] == [("old", "new", 20_000)]


def test_another_content_under_the_same_name_is_seen(directories):
    (directories / "after" / "new.onnx").write_bytes(b"two")
    outcome = diff(directories)

    assert outcome.exit_code == 1
    assert "arm new: its model file has another content" in outcome.stdout


def test_what_cannot_be_compared_is_2(directories):
    (directories / "after" / "routes" / "digits.yaml").write_text(ROUTE.replace("new: 5%", "new: 101%"))
    outcome = diff(directories)

    assert outcome.exit_code == 2
    assert "share 101% is outside 0% to 100%" in outcome.stderr


def test_what_expired_may_be_compared_to_what_revives_it(directories):
    (directories / "before" / "routes" / "digits.yaml").write_text(ROUTE + "expires: 2020-01-01\n")
    outcome = diff(directories)

    assert "5% of units move from old to new, none return" in outcome.stdout
    assert "expires 2020-01-01 → none" in outcome.stdout
