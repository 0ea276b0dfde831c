"""docs/admin.openapi.json is the document that the operator's side shows, and docs/admin.md shows what it does."""

import json
from importlib.metadata import version
from pathlib import Path

from gateway.admin.api import described_app

ROOT = Path(__file__).parents[2]
CURE = "turnout serve, then: curl -s localhost:8003/openapi.json | python -m json.tool > docs/admin.openapi.json"


def test_the_committed_document_is_the_one_that_is_shown():
    """Whoever generates a client finds in the repository what a gateway answers to /openapi.json."""
    shown = described_app(None, None, version("turnout")).openapi()  # type: ignore[arg-type]  # nothing is asked
    assert json.loads((ROOT / "docs/admin.openapi.json").read_text()) == shown, CURE
