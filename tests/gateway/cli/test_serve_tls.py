"""TLS as an operator meets it: the real command, real certificates, real clients on both ports."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import grpc
import pytest

ROOT = Path(__file__).parents[3]
LINEAR = ROOT / "configs" / "models" / "digits-linear.onnx"
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()
LIVE = "/inference.GRPCInferenceService/ServerLive"
PATIENCE_S = 30  # for what the gateway does within a few seconds


class Site:
    """A config directory whose certificates are mounted as Kubernetes mounts them: links that are swapped whole."""

    def __init__(self, authority, root):
        self.authority = authority()
        self.root = root
        self._versions = 0
        self.mount(*self.authority.issue("first"))

    def mount(self, cert, key):
        self._versions += 1
        version = self.root / f"version-{self._versions}"
        version.mkdir(parents=True)
        shutil.copy(cert, version / "tls.crt")
        shutil.copy(key, version / "tls.key")
        shutil.copy(self.authority.ca, version / "ca.crt")
        (self.root / "swap").symlink_to(version.name)
        (self.root / "swap").replace(self.root / "mounted")

    def write(self, **tls):
        """The config directory, complete."""
        document = {"cert_file": "mounted/tls.crt", "key_file": "mounted/tls.key"} | tls
        (self.root / "routes").mkdir()
        (self.root / "turnout.yaml").write_text("tls:\n" + "".join(f"  {k}: {v}\n" for k, v in document.items()))
        arms = {"linear": {"model": f"file:{LINEAR}", "role": "baseline"}}
        route = {"turnout": "v1", "route": "digits", "arms": arms, "strategy": {"kind": "baseline"}}
        (self.root / "routes" / "digits.yaml").write_text(json.dumps(route))
        return self.root

    def https(self, port, shown=None):
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        if shown:
            context.load_cert_chain(*shown)
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_S, context=context)

    def names(self, gateway):
        """The certificates that both ports show to a new connection."""
        served = []
        for port in (gateway.http, gateway.grpc):
            context = ssl.create_default_context(cafile=str(self.authority.ca))
            context.set_alpn_protocols(["h2"] if port == gateway.grpc else ["http/1.1"])
            with context.wrap_socket(connect(port), server_hostname="localhost") as connection:
                served.append(dict(part[0] for part in connection.getpeercert()["subject"])["commonName"])
        return served


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def ask(connection):
    """Status and label of one inference."""
    connection.request("POST", "/v2/models/digits/infer", BODY)
    response = connection.getresponse()
    return response.status, json.loads(response.read())["outputs"][0]["data"]


def ask_once(connection):
    with closing(connection):
        return ask(connection)


def call(port, authority, shown=None):
    cert, key = [path.read_bytes() for path in shown] if shown else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key, cert)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        return channel.unary_unary(LIVE)(b"", timeout=10)


def wait_until(holds):
    until = monotonic() + PATIENCE_S
    while not holds():
        assert monotonic() < until
        sleep(0.1)


@pytest.fixture
def site(authority, tmp_path):
    return Site(authority, tmp_path / "config")


def test_both_ports_speak_tls_and_nothing_else(start_gateway, site):
    gateway = start_gateway(site.write())

    assert (200, [7]) == ask_once(site.https(gateway.http))
    assert b"\x08\x01" == call(gateway.grpc, site.authority)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask_once(http.client.HTTPConnection("127.0.0.1", gateway.http, timeout=PATIENCE_S))
    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc}") as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(LIVE)(b"", timeout=5)
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.metrics, timeout=PATIENCE_S)) as plain:
        plain.request("GET", "/metrics")
        assert b'turnout_certificate_changes_total{outcome="loaded"} 0.0' in plain.getresponse().read()
    assert all(line.startswith("INFO turnout") for line in gateway.log().splitlines())


def test_with_a_client_ca_both_ports_want_a_certificate(start_gateway, site):
    gateway = start_gateway(site.write(client_ca_file="mounted/ca.crt"))
    client = site.authority.issue("client")

    assert (200, [7]) == ask_once(site.https(gateway.http, client))
    assert b"\x08\x01" == call(gateway.grpc, site.authority, client)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask_once(site.https(gateway.http))
    with pytest.raises(grpc.RpcError):
        call(gateway.grpc, site.authority)


def test_a_new_certificate_is_taken_without_a_restart_and_a_broken_one_is_not(start_gateway, site):
    """Renewal needs no operator, and a mistake in it costs nothing."""
    gateway = start_gateway(site.write())
    kept = site.https(gateway.http)
    assert (200, [7]) == ask(kept)

    site.mount(*site.authority.issue("second"))
    wait_until(lambda: "new certificates are in use" in gateway.log())
    assert ["second", "second"] == site.names(gateway)
    assert (200, [7]) == ask(kept)

    site.mount(site.authority.issue("third")[0], site.authority.issue("fourth")[1])
    wait_until(lambda: "the certificates in use stay" in gateway.log())
    assert ["second", "second"] == site.names(gateway)

    assert 0 == gateway.stop()
    kept.close()
    kinds = [event["kind"] for event in gateway.events("life")]
    assert ["certificates_loaded", "certificates_refused"] == [kind for kind in kinds if "certificates" in kind]


def test_files_that_cannot_be_used_are_refused_before_anything_listens(site):
    config = site.write(key_file="mounted/nowhere.key", client_ca_file="routes/digits.yaml")
    command = [sys.executable, "-m", "gateway", "serve", str(config), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert 2 == done.returncode
    key, key_cure, client_ca, client_ca_cure, count = done.stderr.splitlines()
    assert f"{config}/turnout.yaml:3:3: tls.key_file: {config}/mounted/nowhere.key cannot be read" in key
    assert "relative to the config directory" in key_cure
    assert "tls.client_ca_file: " in client_ca
    assert "BEGIN CERTIFICATE" in client_ca_cure
    assert "2 problems" == count
