"""The locks: hashed, without addresses, agreeing with each other and with what the project asks for."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = {path.stem: path for path in (ROOT / "requirements").glob("*.txt")}
OURS, PEERS = {"core", "all", "dev", "gpu", "build"}, {"kserve", "mlserver", "bentoml", "litserve", "ray-serve"}
EXPECTED = OURS | PEERS | {"clients", "deploy", "fuzz", "uv"}
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+)( ; [^\\]+)? \\$", re.MULTILINE)
HEAVY = {"ray", "bentoml", "duckdb", "scipy", "onnx", "pandas", "pyarrow", "scikit-learn", "sympy", "torch"}


def test_every_lock_is_there() -> None:
    """Each environment the Makefile and the Dockerfile make has its lock."""
    assert set(LOCKS) == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_lock_pins_and_hashes_and_names_no_place(name: str) -> None:
    """Whoever installs gets the same bytes from wherever they get their packages."""
    rest = [line for line in LOCKS[name].read_text().splitlines() if not is_comment_pin_or_hash(line)]
    assert [] == rest


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_pin_is_followed_by_a_hash(name: str) -> None:
    """No package slips in unchecked."""
    lines = LOCKS[name].read_text().splitlines()
    bare = [
        line for line, after in zip(lines, [*lines[1:], ""], strict=True) if is_pin(line) and "--hash=" not in after
    ]
    assert [] == bare


@pytest.mark.parametrize(("small", "large"), [("core", "all"), ("all", "dev"), ("build", "dev")])
def test_a_smaller_lock_is_part_of_the_larger(small: str, large: str) -> None:
    """What ships is what was tested, and make demo after make test has nothing to install."""
    assert set() == pins(small) - pins(large)


def test_the_gpu_lock_is_all_with_another_onnxruntime() -> None:
    """The two builds of ONNX Runtime own the same files and are never installed together."""
    without = {name for name, *_ in pins("all")} - {name for name, *_ in pins("gpu")}
    assert ({"onnxruntime"}, True) == (without, "onnxruntime-gpu" in {name for name, *_ in pins("gpu")})


def test_the_core_lock_is_light() -> None:
    """A gateway without a cluster does not carry one."""
    assert set() == {name for name, *_ in pins("core")} & HEAVY


def test_the_core_lock_has_all_the_project_needs() -> None:
    """A dependency that was added is locked too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {normal(re.split(r"[\[<>=!~; ]", wish, maxsplit=1)[0]) for wish in project["dependencies"]}
    assert set() == asked - {name for name, *_ in pins("core")}


def test_numpy_is_locked_for_old_and_new_python() -> None:
    """Python 3.11 keeps a numpy it can install, later ones get theirs."""
    markers = {marker for name, _, marker in pins("core") if name == "numpy"}
    assert {" ; python_full_version < '3.12'", " ; python_full_version >= '3.12'"} == markers


def pins(name: str) -> set[tuple[str, str, str]]:
    """Name, version and marker of every package in a lock."""
    return set(PIN.findall(LOCKS[name].read_text()))


def is_pin(line: str) -> bool:
    return PIN.match(line) is not None


def is_comment_pin_or_hash(line: str) -> bool:
    is_hash = re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) is not None
    is_comment = line.startswith("#") and "/" not in line and ":" not in line.rstrip(":")
    return is_hash or is_comment or is_pin(line)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
