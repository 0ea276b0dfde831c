"""The operator's side beyond its own machine: TLS and a token, or no start at all."""

import http.client
import json
import shutil
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30


def run(*words: object, token: str = ""):
    environment = {"TURNOUT_STATE_URL": "", "TURNOUT_TOKEN": token}
    return CliRunner().invoke(app, [str(word) for word in words], env=environment)


@pytest.fixture
def signer(authority):
    return authority()


@pytest.fixture
def config(signer, tmp_path):
    """A directory that opens the operator's side to everybody, with the certificates that go with it."""
    folder = shutil.copytree(ROOT / "configs", tmp_path / "configs")
    cert, key = signer.issue("first")
    shutil.copy(cert, folder / "tls.crt")
    shutil.copy(key, folder / "tls.key")
    shutil.copy(signer.ca, folder / "ca.crt")
    return folder


def settings(folder: Path, *, tls: bool, **listen: object) -> Path:
    words = {"listen": {"admin_host": "0.0.0.0"} | listen}
    if tls:
        words["tls"] = {"cert_file": "tls.crt", "key_file": "tls.key", "client_ca_file": "ca.crt"}
    (folder / "turnout.yaml").write_text(json.dumps(words))
    return folder


def served_under(signer, gateway) -> str:
    context = ssl.create_default_context(cafile=str(signer.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", gateway.admin, timeout=PATIENCE_S, context=context)
    with closing(connection):
        connection.connect()
        return dict(part[0] for part in connection.sock.getpeercert()["subject"])["commonName"]


@pytest.mark.parametrize(("tls", "token"), [(False, False), (False, True), (True, False)])
def test_without_tls_and_a_token_it_does_not_start(config, tmp_path, tls, token):
    """One line says which of the two is missing."""
    state = tmp_path / "state"
    if token:
        run("token", "create", "ci", "--role", "operate", "--state", state)
    command = ["serve", str(settings(config, tls=tls)), "--port", "0", "--state", str(state)]
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *command], capture_output=True, text=True, timeout=60, check=False
    )
    (last,) = (line for line in done.stderr.splitlines() if line.startswith("cannot start: "))
    assert (2, True) == (done.returncode, "the admin address 0.0.0.0 can be reached" in last), done.stderr
    assert (not tls, not token) == ("tls: with a certificate" in last, "turnout token create" in last)
    assert "Traceback" not in done.stderr


def test_with_both_it_serves_whoever_holds_a_token_and_nobody_else(start_gateway, config, signer, tmp_path):
    """No certificate is asked of operators, though clients have to show one."""
    token = run("token", "create", "ci", "--role", "operate", "--state", tmp_path / "state-0").stdout.strip()
    gateway = start_gateway(settings(config, tls=True, admin_names=["gate.example"]))
    at = ("--server", f"https://127.0.0.1:{gateway.admin}")

    assert 0 == run("status", *at, "--ca-file", signer.ca, token=token).exit_code
    assert 0 == run("advance", "digits", *at, "--ca-file", signer.ca, token=token).exit_code
    for words, message in (
        ((*at, "--ca-file", signer.ca), "a valid token is needed"),
        (at, "certificate verify failed"),
        (("--server", f"http://127.0.0.1:{gateway.admin}"), "cannot be asked"),
    ):
        refused = run("status", *words)
        assert (2, True) == (refused.exit_code, message in refused.stderr), refused.output

    context = ssl.create_default_context(cafile=str(signer.ca))
    for name, status in (("gate.example", 200), ("0.0.0.0", 200), ("evil.example", 403)):
        with closing(http.client.HTTPSConnection("127.0.0.1", gateway.admin, timeout=30, context=context)) as asked:
            asked.request("GET", "/v1/status", headers={"host": name, "authorization": f"Bearer {token}"})
            assert status == asked.getresponse().status


def test_a_renewed_certificate_is_shown_without_a_restart(start_gateway, config, signer, tmp_path):
    run("token", "create", "ci", "--role", "operate", "--state", tmp_path / "state-0")
    gateway = start_gateway(settings(config, tls=True))
    assert "first" == served_under(signer, gateway)
    for made, name in zip(signer.issue("second"), ("tls.crt", "tls.key"), strict=True):
        shutil.copy(made, config / name)
    until = monotonic() + PATIENCE_S
    while "second" != served_under(signer, gateway):
        assert monotonic() < until
        sleep(0.1)
