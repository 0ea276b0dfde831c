"""The operator's side over a fleet with a script, a state of its own, and model files that are none."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from time import time

import httpx
import pytest

from gateway.admin.api import admin_app
from gateway.publishing.publisher import Publisher
from gateway.state.database import FILE
from gateway.state.shelf import Shelf
from gateway.state.tokens import TokenRole
from tests.gateway.conftest import documents

HOSTS = frozenset({"127.0.0.1", "localhost", "turnout.example"})
DAY_S = 86_400.0


class ScriptedFleet:
    """Serves whatever it is given, but for what its script refuses."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.live = 0

    async def warm(self, _meaning) -> Mapping[str, str]:
        return self.refused

    def discard(self, _number: int) -> None:
        return

    async def swap(self, meaning) -> None:
        self.live = meaning.number


class Site:
    """What the tests ask, and what stands behind it."""

    def __init__(self, root: Path) -> None:
        for name in ("old.onnx", "new.onnx", "dumb.json"):
            (root / name).write_text(name)
        self.shelf = Shelf(root / "state")
        self.fleet = ScriptedFleet()
        self.publisher = Publisher(self.shelf, root, self.fleet)
        self.app = admin_app(self.publisher, self.shelf, "1.2.3", HOSTS)

    def token(self, role: str = "operate", name: str = "ann", *, ago_s: float = 0.0, lifetime_s: float = DAY_S) -> str:
        """The secret of a new token that was made some time ago."""
        return self.shelf.tokens().create(
            name, TokenRole(role), lifetime_s=lifetime_s, author="root", now=time() - ago_s
        )[1]

    def revoked(self) -> str:
        secret = self.token(name="gone")
        token = next(each for each in self.shelf.tokens().all() if each.name == "gone")
        self.shelf.tokens().revoke(token.id, author="root", now=time())
        return secret

    def client(self, secret: str = "", **headers: str) -> httpx.AsyncClient:
        bearer = {"authorization": f"Bearer {secret}"} if secret else {}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8003", headers=bearer | headers)

    def refusals(self) -> list[tuple[str, str, str]]:
        """Author, action and detail of everything that was refused, the latest first."""
        entries = self.shelf.audit().entries()
        return [
            (each.deed.author, each.deed.action, each.deed.detail) for each in entries if each.deed.outcome == "refused"
        ]


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state's file without anything in it, which takes longer to make than to copy."""
    folder = tmp_path_factory.mktemp("empty")
    shelf = Shelf(folder)
    shelf.engine()
    shelf.close()
    return folder / FILE


@pytest.fixture
def site(tmp_path: Path, empty_state: Path) -> Iterator[Site]:
    (tmp_path / "state").mkdir()
    shutil.copy(empty_state, tmp_path / "state")
    made = Site(tmp_path)
    yield made
    assert made.shelf.audit().verify() == ""  # whatever a test did
    made.shelf.close()


@pytest.fixture
async def operator(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may change things, where a route is live already."""
    async with site.client(site.token()) as client:
        done = await client.post("/v1/apply", json={"documents": documents(), "reason": "the first"})
        assert 200 == done.status_code, done.text
        yield client
