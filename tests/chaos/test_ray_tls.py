"""A cluster whose replicas speak TLS: gateways that know their authority are answered, others fall back and say why.

Nothing is hurt here; only `make chaos` does it because a cluster of somebody else's takes long to start.
"""

import tempfile
from pathlib import Path

import pytest

from runners.ray.replica import TLS_VARIABLES
from tests.chaos.marks import only_in_chaos
from tests.chaos.ray_clusters import LINEAR, START_LIMIT_S, Nodes, on_ray, ready_replicas, wait_for, write_configs
from tests.gateway.cli.test_serve import BODY, ask
from tests.runners.ray.conftest import Certificates

pytestmark = only_in_chaos


@pytest.fixture
def certificates(tmp_path):
    return Certificates(tmp_path)


@pytest.fixture
def nodes(certificates):
    """Whose replicas have a certificate, and ask for the gateway's."""
    tls = certificates.signed("turnout-hop")
    files = dict(zip(TLS_VARIABLES, map(str, (tls.ca, tls.cert, tls.key)), strict=True))
    made = Nodes(Path(tempfile.mkdtemp(prefix="tr-")), files)
    yield made
    made.stop()


@pytest.fixture
def serve(gateway_process, nodes, tmp_path):
    """Start a gateway that shows and trusts what these certificates say; killed at the end of the test."""
    started = []

    def begin(name: str, of: Certificates):
        tls = of.signed("turnout-hop")
        files = {"ca_file": str(tls.ca), "cert_file": str(tls.cert), "key_file": str(tls.key)}
        ray = {"address": nodes.address, "secret_file": str(nodes.secret), "tls": files}
        arms = {"here": {"model": LINEAR, "role": "baseline"}, "there": on_ray("candidate")}
        strategy = {"kind": "ab", "shares": {"there": "100%"}}
        folder = write_configs(tmp_path / name, {"timeout": "5s", "arms": arms, "strategy": strategy}, {"ray": ray})
        gateway = gateway_process([str(folder)], tmp_path / f"{name}-state", nodes.environment, START_LIMIT_S)
        started.append(gateway)
        return gateway

    yield begin
    for gateway in started:
        gateway.kill()


def answered_by(gateway) -> tuple[str, str]:
    status, headers, told = ask(gateway.http, "/v2/models/digits/infer", BODY)
    assert status == 200, told
    return headers["x-turnout-arm"], headers.get("x-turnout-fallback", "")


def test_replicas_are_asked_over_tls_by_those_who_trust_each_other(nodes, serve, certificates):
    nodes.start_head(cpus_n=2)
    known = serve("known", certificates)
    wait_for(lambda: answered_by(known) == ("there", ""), START_LIMIT_S)
    assert 0 == known.stop()

    stranger = serve("stranger", certificates.another())
    wait_for(lambda: ready_replicas(stranger) and "its certificate is refused: " in stranger.log(), START_LIMIT_S)
    assert ("here", "not_ready") == answered_by(stranger)
