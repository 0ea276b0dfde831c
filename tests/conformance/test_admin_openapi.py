"""A fuzzer reads docs/admin.openapi.json and asks all that it allows, and much that it does not."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.admin.api import admin_app
from gateway.frontends.asgi_server import AsgiServer
from tests.gateway.admin.conftest import Site, documents

ROOT = Path(__file__).parents[2]
FUZZER = ROOT / ".venv-fuzz/bin/schemathesis"
EXAMPLES = 20  # per operation and phase
SEED = 20  # a failure can be had again
CHECKS = (  # but that methods which are not described get 405: who may not ask, or posts no JSON, hears of that first
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
)


class Served:
    """The real application over a fleet with a script, on a port, in a loop of its own thread."""

    def __init__(self, site: Site) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        app = admin_app(site.publisher, site.shelf, "1.2.3", frozenset({"127.0.0.1"}))
        self._server = AsgiServer(app, "127.0.0.1", 0, "admin")
        self._do(self._server.start())
        self.url = f"http://127.0.0.1:{self._server.port}"

    def stop(self) -> None:
        self._do(self._server.stop(1.0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    assert "" == made.shelf.audit().verify()
    made.shelf.close()


@pytest.fixture
def served(site) -> Iterator[Served]:
    started = Served(site)
    yield started
    started.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["anybody", "operator", "stranger"])
def test_no_request_makes_the_operators_side_fail(site, served, tmp_path, who):
    """Whatever is sent, by whomever, the answer is one that the document describes, and never the server's fault."""
    assert FUZZER.exists(), ".venv-fuzz is missing; cure: make clients"
    secret = "" if who == "anybody" else site.token()
    asyncio.run_coroutine_threadsafe(_begin(site, secret), served._loop).result(30)
    bearer = ["--header", f"Authorization: Bearer {secret}"] if who == "operator" else []
    how = ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--warnings", "off", *bearer]
    bounds = ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--continue-on-failure"]
    command = [FUZZER, "run", ROOT / "docs/admin.openapi.json", "--url", served.url, *how, *bounds]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 0 == run.returncode, run.stdout


async def _begin(site: Site, secret: str) -> None:
    async with site.client(secret) as client:
        assert 200 == (await client.post("/v1/apply", json={"documents": documents()})).status_code
