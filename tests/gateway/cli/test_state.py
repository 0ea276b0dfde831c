"""`turnout state`, `audit` and `token` as an operator types them."""

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app


def turnout(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), env={"TURNOUT_STATE_URL": ""})


@pytest.fixture
def state(tmp_path: Path) -> str:
    folder = str(tmp_path / "state")
    assert 0 == turnout("token", "create", "ci", "--role", "operate", "--author", "ann", "--state", folder).exit_code
    return folder


def test_a_new_token_is_printed_alone_so_that_a_script_can_take_it(tmp_path: Path) -> None:
    """Standard output holds the secret and nothing else."""
    made = turnout("token", "create", "ci", "--state", str(tmp_path))
    assert (0, 1, True) == (made.exit_code, made.stdout.count("\n"), made.stdout.startswith("turnout_"))


def test_a_token_is_listed_and_revoked_by_its_id(state: str) -> None:
    """The list shows who holds what until when; a revoked token says so."""
    token_id = turnout("token", "list", "--state", state).stdout.split()[0]
    assert 0 == turnout("token", "revoke", token_id, "--state", state).exit_code
    assert "revoked" in turnout("token", "list", "--state", state).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("token", "revoke", "nobody"), "there is no token 'nobody' to revoke"),
        (("token", "create", "ci", "--expires", "soon"), "--expires"),
        (("state", "import", "nowhere.jsonl"), "nowhere.jsonl"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_status_2(state: str, words: tuple[str, ...], message: str) -> None:
    """A mistake is answered in words, not with a traceback."""
    refused = turnout(*words, "--state", state)
    assert (2, 1) == (refused.exit_code, refused.stderr.count("\n"))
    assert message in refused.stderr


def test_the_audit_log_tells_who_did_what(state: str) -> None:
    listed = turnout("audit", "list", "--state", state).stdout
    assert ("ann" in listed, "token.create done" in listed) == (True, True)
    assert (0, "the audit log is whole\n") == (
        *((checked := turnout("audit", "verify", "--state", state)).exit_code, checked.stdout),
    )


def test_a_forged_audit_log_is_found_out(state: str) -> None:
    """Somebody edits the file by hand: exit status 1, with the entry."""
    with sqlite3.connect(Path(state, "state.db")) as database:
        database.execute("DROP TRIGGER audit_no_update")
        database.execute("UPDATE audit SET author = 'nobody'")
    database.close()
    checked = turnout("audit", "verify", "--state", state)
    assert (1, "the audit log is broken: entry 1 is not what was written\n") == (checked.exit_code, checked.stderr)


def test_a_history_moves_to_another_place(state: str, tmp_path: Path) -> None:
    """Exported here, imported there, exported again: the same bytes. A second import is refused."""
    first, second, new = tmp_path / "first.jsonl", tmp_path / "second.jsonl", str(tmp_path / "new")
    assert 0 == turnout("state", "export", str(first), "--state", state).exit_code
    assert 0 == turnout("state", "import", str(first), "--state", new).exit_code
    assert 0 == turnout("state", "export", str(second), "--state", new).exit_code
    assert first.read_bytes() == second.read_bytes()
    again = turnout("state", "import", str(first), "--state", new)
    assert (2, True) == (again.exit_code, "already" in again.stderr)


def test_an_export_that_fails_leaves_nothing_behind(state: str, tmp_path: Path) -> None:
    """A half-written file would be taken for an export."""
    with sqlite3.connect(Path(state, "state.db")) as database:
        database.execute("DROP TABLE audit")
    database.close()
    folder = tmp_path / "out"
    folder.mkdir()
    assert 2 == turnout("state", "export", str(folder / "x.jsonl"), "--state", state).exit_code
    assert [] == list(folder.iterdir())
