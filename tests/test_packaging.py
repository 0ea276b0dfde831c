"""What is shipped: the wheel's contents, the command, and what importing it costs."""

import json
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"gateway", "runners", "strategies", "observability"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = {
    "alembic",
    "ray",
    "bentoml",
    "scipy",
    "duckdb",
    "onnx",
    "pandas",
    "pyarrow",
    "sklearn",
    "torch",
    "pytest",
    "hatchling",
}
IMPORT_ALL = """
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    for module in pkgutil.walk_packages([name], name + "."):
        importlib.import_module(module.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_brings_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Installing Turnout puts no stray `tests` or `configs` where other projects look for theirs."""
    assert PACKAGES | {f"turnout-{PROJECT['version']}.dist-info"} == {name.split("/")[0] for name in wheel.namelist()}


def test_the_wheel_brings_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    """What works from a checkout works from the wheel."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    sources = {str(path.relative_to(ROOT)) for path in paths if path.suffix not in {".pyc", ".orig", ".rej"}}
    assert set() == sources - set(wheel.namelist())


def test_every_package_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    """A type checker believes our annotations only where a package carries this marker."""
    assert {f"{package}/py.typed" for package in PACKAGES} == {n for n in wheel.namelist() if n.endswith("py.typed")}


def test_the_wheel_carries_its_licence_and_command(wheel: zipfile.ZipFile) -> None:
    """Whoever has only the wheel can read its terms and call `turnout`."""
    folder = f"turnout-{PROJECT['version']}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    command = wheel.read(f"{folder}/entry_points.txt").decode()
    assert ("Apache-2.0", ["LICENSE"]) == (metadata["License-Expression"], metadata.get_all("License-File"))
    assert "turnout = gateway.cli.app:main" in command


def test_heavy_things_are_extras(wheel: zipfile.ZipFile) -> None:
    """Ray and BentoML come only to those who ask for them."""
    metadata = Parser().parsestr(wheel.read(f"turnout-{PROJECT['version']}.dist-info/METADATA").decode())
    always = {wish for wish in metadata.get_all("Requires-Dist", []) if "extra ==" not in wish}
    assert set() == {wish for wish in always if wish.startswith(("ray", "bentoml", "onnxruntime-gpu"))}
    assert {"all", "bento", "gpu", "postgres", "ray"} == set(metadata.get_all("Provides-Extra", []))


def test_the_command_knows_its_version() -> None:
    """`turnout --version` says what is installed."""
    (command,) = entry_points(group="console_scripts", name="turnout")
    shown = run("-c", f"from {command.module} import {command.attr}; {command.attr}()", "--version")
    assert (PROJECT["version"], True) == (version("turnout"), PROJECT["version"] in shown.split())


def test_importing_the_gateway_imports_nothing_heavy() -> None:
    """A gateway starts in a second, and starts without the extras: they are imported when they are used."""
    imported = set(json.loads(run("-c", IMPORT_ALL, *sorted(PACKAGES))))
    assert (set(), PACKAGES) == (imported & HEAVY, imported & PACKAGES)


def run(*arguments: str) -> str:
    outcome = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout
