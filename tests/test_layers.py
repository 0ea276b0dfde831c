"""Which package may import which: kept as it stands, and broken by an import planted in a copy."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "runners", "strategies", "observability")
LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True))"

PLANTED = [
    ("strategies/canary.py", "import time", "Strategies are pure"),
    ("strategies/core/assignment.py", "from random import random", "Strategies are pure"),
    ("strategies/canary.py", "import strategies.ab", "Every strategy is a file of its own"),
    ("strategies/core/plan.py", "import strategies.baseline", "The core of a room names none"),
    ("observability/event.py", "import strategies.core.plan", "the rooms do not know each other"),
    ("runners/core/tensor.py", "import gateway.errors", "The gateway knows the three rooms"),
    ("gateway/routing/table.py", "import gateway.service", "imports point down"),
    ("gateway/homeless.py", "", "imports point down"),
    ("gateway/cli/__init__.py", "def later():\n    import bentoml", "What runs models is imported by runners alone"),
    ("gateway/service.py", "from pydantic import BaseModel", "nothing of pydantic goes further"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_code_keeps_every_contract(copy: Path) -> None:
    """Which package knows which is as the architecture says."""
    outcome = lint(copy)
    assert 0 == outcome.returncode, outcome.stdout


@pytest.mark.parametrize(("path", "line", "contract"), PLANTED)
def test_an_import_that_breaks_a_contract_is_seen(copy: Path, path: str, line: str, contract: str) -> None:
    """Nobody can bring a clock into a strategy, or an engine into the gateway, without being told."""
    with (copy / path).open("a") as module:
        module.write(f"\n{line}\n")
    outcome = lint(copy)
    broken = outcome.stdout.partition("Broken contracts")[2]
    assert (1, True) == (outcome.returncode, contract in " ".join(broken.split())), outcome.stdout


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT_IMPORTS]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
