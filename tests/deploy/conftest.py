"""What is shipped to run elsewhere: read here, and the repository that it is of."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).parent.parent.parent
TOOLS = REPOSITORY / ".venv-deploy/bin"  # make deploy makes it


def documents_in(path: Path) -> list[dict[str, Any]]:
    """All YAML documents of a file."""
    return [each for each in YAML(typ="safe").load_all(path.read_text()) if each]


@pytest.fixture
def repository() -> Path:
    return REPOSITORY
