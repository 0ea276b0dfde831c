"""The verbs that change what is live, as typed, on the state itself and at a running gateway: the same answers."""

import json
import shutil
from pathlib import Path
from time import monotonic, time

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from gateway.state.members import Member
from gateway.state.shelf import Shelf
from tests.gateway.cli.test_serve import BODY, ask

ROOT = Path(__file__).parents[3]
MOVES = ("advance", "hold", "resume", "promote", "rollback", "restart")


def run(*words: object, **environment: str) -> Result:
    environment = {"TURNOUT_STATE_URL": "", "TURNOUT_TOKEN": ""} | environment
    return CliRunner().invoke(app, [str(word) for word in words], env=environment)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """What ships, with more time for an answer: a machine that stands still for a second is no fault of a verb."""
    folder = shutil.copytree(ROOT / "configs", tmp_path_factory.mktemp("operate") / "configs")
    edit(folder, "timeout: 1s", "timeout: 30s")
    return folder


@pytest.fixture(scope="module")
def gateway(start_shared_gateway, config):
    return start_shared_gateway(config, "--workers", 2)


@pytest.fixture(params=["here", "there"])
def turnout(request, gateway, config):
    """Runs a verb, here on the state or there at the gateway, which is where it began and not frozen."""
    at = ("--state", gateway.state) if request.param == "here" else ("--server", f"http://127.0.0.1:{gateway.admin}")
    run("freeze", "--lift", *at)
    reset = run("apply", config, "--restart", "digits", *at)
    assert 0 == reset.exit_code, reset.output
    return lambda *words: run(*words, *at)


@pytest.fixture
def edited(config, tmp_path) -> Path:
    """The directory with another timeout."""
    folder = shutil.copytree(config, tmp_path / "edited")
    edit(folder, "timeout: 30s", "timeout: 29s")
    return folder


def edit(folder: Path, old: str, new: str) -> Path:
    file = folder / "routes" / "digits.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    return file


def live(turnout) -> int:
    return json.loads(turnout("status", "-o", "json").stdout)["live"]["revision"]


def share(turnout) -> int:
    return json.loads(turnout("describe", "digits", "-o", "json").stdout)["shares_ppm"].get("digits-mlp", 0)


def test_what_is_applied_is_served_when_the_command_returns(gateway, turnout, edited):
    """By every worker, on every new connection."""
    done = turnout("apply", edited, "--reason", "nobody waits longer")
    assert (0, True) == (done.exit_code, "timeout 30s → 29s" in done.stdout), done.output
    number = live(turnout)
    assert done.stdout.endswith(f"revision {number} is live\n")
    told = {ask(gateway.http, "/v2/models/digits/infer", BODY)[1]["x-turnout-revision"] for _ in range(20)}
    assert {str(number)} == told


def test_the_same_again_changes_nothing(turnout, config):
    number = live(turnout)
    again = turnout("apply", config)
    assert (0, f"nothing to change: revision {number} is live\n") == (again.exit_code, again.stdout)


def test_a_dry_run_changes_nothing(turnout, edited):
    number = live(turnout)
    looked = turnout("apply", edited, "--dry-run")
    assert (0, True) == (looked.exit_code, "timeout 30s → 29s" in looked.stdout)
    assert looked.stdout.endswith(f"nothing has changed: revision {number} is live\n")
    assert number == live(turnout)


def test_a_rollout_is_moved_by_every_verb(gateway, turnout):
    shares = []
    for verb in MOVES:
        done = turnout(verb, "digits", "--reason", f"to see {verb}")
        assert 0 == done.exit_code, done.output
        shares.append(share(turnout))
    assert [250_000, 250_000, 250_000, 1_000_000, 0, 50_000] == shares
    reasons = [each["reason"] for each in json.loads(turnout("history", "--limit", "6", "-o", "json").stdout)]
    assert [f"{verb} digits: to see {verb}" for verb in reversed(MOVES)] == reasons


def test_a_promoted_candidate_answers_everybody_at_once(gateway, turnout):
    assert 0 == turnout("promote", "digits").exit_code
    arms = {
        ask(gateway.http, "/v2/models/digits/infer", BODY, x_account_id=f"a{n}")[1]["x-turnout-arm"] for n in range(20)
    }
    assert {"digits-mlp"} == arms


def test_a_dry_move_says_who_would_move(turnout):
    looked = turnout("advance", "digits", "--dry-run")
    assert "20% of units move from digits-linear to digits-mlp" in looked.stdout
    assert 50_000 == share(turnout)


def test_undo_goes_back_and_undo_again_forth(turnout, edited):
    timeouts = []
    assert 0 == turnout("apply", edited).exit_code
    for _ in range(2):
        assert 0 == turnout("undo", "--reason", "as it was").exit_code
        timeouts.append("timeout: 29s" in turnout("get").stdout)
    assert [False, True] == timeouts
    assert 0 == turnout("undo", "--to-revision", 1).exit_code
    assert "timeout: 30s" in turnout("get").stdout


def test_a_freeze_lets_through_what_makes_traffic_safer_and_nothing_else(turnout, edited):
    assert 0 == turnout("freeze", "Christmas").exit_code
    for words in (("apply", edited), ("undo",), *((verb, "digits") for verb in ("advance", "promote", "restart"))):
        refused = turnout(*words)
        assert (2, 1) == (refused.exit_code, refused.stderr.count("\n")), words
        assert "everything is frozen: Christmas; lift it with: turnout freeze --lift" in refused.stderr
    assert "frozen: Christmas" in turnout("status").stdout
    assert [0, 0] == [turnout(verb, "digits").exit_code for verb in ("hold", "rollback")]
    assert 0 == turnout("freeze", "--lift").exit_code
    assert 0 == turnout("restart", "digits").exit_code


def test_one_file_changes_one_route(turnout, edited, tmp_path):
    """The others stay as they are live, whatever a directory says of them."""
    other = edit(edited, "route: digits", "route: other").rename(tmp_path / "other.yaml")
    added = turnout("apply", other)
    assert 0 == added.exit_code, added.output
    routes = {each["route"] for each in json.loads(turnout("status", "-o", "json").stdout)["routes"]}
    assert {"digits", "other"} == routes
    assert "timeout: 30s" in turnout("get").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("advance", "digit"), "no route is called 'digit'; there is digits"),
        (("advance", "digits", "--expects", "1"), "revision 1 is not the live one:"),
        (("resume", "digits"), "cannot resume: the rollout is climbing; possible: advance"),
        (("undo", "--to-revision", "9999"), "there is no revision 9999; the latest is "),
        (("apply", "nowhere.yaml"), "nowhere.yaml"),
        (("apply", ROOT / "examples"), "no route is written here"),
        (("apply", ROOT / "README.md"), "README.md"),
        (("apply", ROOT / "configs", "--restart", "digit"), "no route is called 'digit'; there is digits"),
        (("freeze",), 'say why: turnout freeze "REASON"; or lift it: turnout freeze --lift'),
        (("freeze", "why", "--lift"), "say why"),
        (("get", "--revision", "9999"), "there is no revision 9999"),
        (("describe", "digit"), "no route is called 'digit'; there is digits"),
        (("status", "digit"), "no route is called 'digit'; there is digits"),
    ],
)
def test_a_mistake_is_told_in_words_and_changes_nothing(turnout, words, message):
    number = live(turnout)
    refused = turnout(*words)
    assert (2, "") == (refused.exit_code, refused.stdout), refused.output
    assert message in refused.stderr
    assert number == live(turnout)


def test_a_mistake_in_a_document_is_told_with_its_place(turnout, edited):
    edit(edited, "role: baseline", "role: basline")
    refused = turnout("apply", edited)
    assert 2 == refused.exit_code
    assert "it can be 'baseline', 'candidate' or 'reserve'" in refused.stderr


def test_a_missing_model_is_refused(turnout, edited):
    number = live(turnout)
    edit(edited, "models/digits-mlp.onnx", "models/digits-mpl.onnx")
    refused = turnout("apply", edited)
    assert (2, True) == (refused.exit_code, "digits-mpl.onnx" in refused.stderr), refused.output
    assert number == live(turnout)


@pytest.mark.parametrize("verb", [("advance", "digits"), ("apply",), ("undo",)])
def test_a_program_can_read_the_answer(turnout, edited, verb):
    words = ("apply", edited) if verb == ("apply",) else verb
    told = json.loads(turnout(*words, "--dry-run", "-o", "json").stdout)
    again = YAML(typ="safe").load(turnout(*words, "--dry-run", "-o", "yaml").stdout)
    assert told == again
    assert {"live", "published", "routes"} <= set(told)


def test_a_change_that_no_gateway_can_serve_ends_with_1_and_undo_mends_it(gateway, config, edited):
    """Models that are not at hand are believed; whoever serves says what is wrong, and serves on what was live."""
    at = ("--state", gateway.state)
    run("apply", config, "--restart", "digits", *at)
    served = json.loads(run("status", "-o", "json", *at).stdout)["live"]["revision"]
    edit(edited, "models/digits-mlp.onnx", "models/digits-mpl.onnx")
    done = run("apply", edited, "--unrehearsed", *at)
    assert 1 == done.exit_code, done.output
    assert f"serves revision {served}: " in done.stdout
    assert "digits-mpl.onnx" in done.stdout
    status = run("status", *at)
    assert (1, True) == (status.exit_code, "digits-mpl.onnx" in status.stdout)
    assert str(served) == ask(gateway.http, "/v2/models/digits/infer", BODY)[1]["x-turnout-revision"]

    assert 0 == run("undo", *at).exit_code
    assert 0 == run("status", *at).exit_code


def test_where_nothing_was_published_there_is_nothing_to_change(tmp_path):
    """And whoever only looks leaves no state behind."""
    state = tmp_path / "state"
    for words in (("status",), ("describe", "digits"), ("history",), ("get",), ("get", "--revision", 1)):
        refused = run(*words, "--state", state)
        assert (2, True) == (refused.exit_code, "nothing has been published here yet" in refused.stderr), words
    assert not state.exists()
    for words in (("undo",), ("advance", "digits"), ("freeze", "why")):
        assert 2 == run(*words, "--state", state).exit_code, words


def test_the_author_is_who_asks(turnout, gateway, edited):
    at = turnout("apply", edited, "--author", "Łukasz\n")
    assert 0 == at.exit_code, at.output
    author = json.loads(turnout("history", "--limit", "1", "-o", "json").stdout)[0]["author"]
    assert author.strip() in {"Łukasz", "Łukasz (unproven)"}


def test_a_token_is_taken_from_the_environment_and_its_name_is_the_author(start_gateway, config):
    gateway = start_gateway(config)
    made = run("token", "create", "ci", "--role", "operate", "--state", gateway.state).stdout.strip()
    looking = run("token", "create", "eve", "--role", "observe", "--state", gateway.state).stdout.strip()
    at = ("--server", f"127.0.0.1:{gateway.admin}")

    assert 0 == run("advance", "digits", *at, TURNOUT_TOKEN=made).exit_code
    (head,) = json.loads(run("history", "--limit", 1, "-o", "json", *at, TURNOUT_TOKEN=looking).stdout)
    assert ("ci", "advance digits") == (head["author"], head["reason"])
    for token, words, why in (
        ("", ("status",), "a valid token is needed"),
        ("turnout_wrong", ("status",), "a valid token is needed"),
        (looking, ("advance", "digits"), "this takes the role operate, the token has observe"),
        ("two words", ("status",), "TURNOUT_TOKEN holds no token"),
        ("ün", ("status",), "TURNOUT_TOKEN holds no token"),
    ):
        refused = run(*words, *at, TURNOUT_TOKEN=token)
        assert (2, 1, True) == (refused.exit_code, refused.stderr.count("\n"), why in refused.stderr), refused.output


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("http://127.0.0.1:99999", "write it like http://127.0.0.1:8003"),
        ("http://[::1", "write it like http://127.0.0.1:8003"),
        ("ftp://127.0.0.1", "write it like http://127.0.0.1:8003"),
        ("", ""),
        ("http://127.0.0.1:1", "cannot be asked: "),
        ("https://127.0.0.1:{http}", "cannot be asked: "),
        ("http://127.0.0.1:{grpc}", ""),
        ("http://127.0.0.1:{http}", ""),
        ("http://127.0.0.1:{metrics}", "is it one?"),
    ],
)
def test_a_wrong_address_is_told_in_words(gateway, tmp_path, server, message):
    address = server.format(http=gateway.http, grpc=gateway.grpc, metrics=gateway.metrics)
    refused = run("status", "--server", address, "--state", tmp_path / "nothing")
    assert (2, 1) == (refused.exit_code, refused.stderr.count("\n")), refused.output
    assert message in refused.stderr


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_wrong_ca_file_is_told_in_words(gateway, tmp_path, content):
    file = tmp_path / "ca.crt"
    if content:
        file.write_text(content)
    refused = run("status", "--server", f"https://127.0.0.1:{gateway.admin}", "--ca-file", file)
    assert (2, True) == (refused.exit_code, refused.stderr.startswith(f"--ca-file {file}: ")), refused.output


def test_how_long_gateways_are_waited_for_is_the_operators_to_say(config, edited, tmp_path):
    """A gateway that opens a large model needs longer than the ten seconds that are usual."""
    state = tmp_path / "state"
    assert 0 == run("apply", config, "--state", state).exit_code
    shelf = Shelf(state)
    shelf.members().beat(Member("elsewhere:1", 1, "", time() + 60))
    shelf.close()
    began_at = monotonic()
    late = run("apply", edited, "--state", state, "--within", "200ms", "--output", "json")
    assert (1, True) == (late.exit_code, monotonic() - began_at < 9)
    assert [("elsewhere:1", 1)] == [(each["gateway"], each["revision"]) for each in json.loads(late.stdout)["gateways"]]


def test_a_wait_that_is_no_duration_is_refused(config, tmp_path):
    refused = run("apply", config, "--state", tmp_path / "state", "--within", "soon")
    assert 2 == refused.exit_code
    assert "--within: 'soon' is no duration; write it like 250ms" in refused.output
