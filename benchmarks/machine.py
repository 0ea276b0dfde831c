"""What a figure depends on besides the code: the machine and the versions of all that takes part."""

import os
import platform
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

DISTRIBUTIONS = ("onnxruntime", "numpy", "uvicorn", "uvloop", "httptools", "msgspec", "grpcio", "protobuf")
BUSY_LOAD = 0.5  # processes that wanted to run in the last minute, before ours did
ROOT = Path(__file__).parents[1]


def describe_machine() -> str:
    """One sentence."""
    name = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({name[1].strip() if name else platform.machine()}), {memory_gib:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, loopback only"
    )


def list_versions() -> str:
    """Turnout's own state, then what it stands on, then the load generators."""
    found = [turnout_version()]
    found += [f"{name} {version(name)}" for name in DISTRIBUTIONS]
    found += [_tool(["wrk", "-v"], r"wrk \S+"), _tool(["h2load", "--version"], r"h2load \S+")]
    return ", ".join(name for name in found if name)


def turnout_version() -> str:
    """Turnout's version with the commit that is in use."""
    return f"turnout {version('turnout')}{_commit()}"


def busy_warning() -> str:
    """A warning if somebody else is using the machine, "" if not."""
    load = os.getloadavg()[0]
    return f"the machine is busy (load {load:.1f}): these figures are noise" if load > BUSY_LOAD else ""


def end_in_order() -> None:
    """Have SIGTERM end this process as an error would, so that the servers it started are ended, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def pick_cpus() -> tuple[int, int]:
    """A core for the server and one for the load generator; the same one where there is no second."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def _commit() -> str:
    """The commit in use, and whether the tree differs from it; "" outside a repository."""
    try:
        commit = _output(["git", "rev-parse", "--short", "HEAD"])
        return f" at {commit}{' with changes' if _output(['git', 'status', '--porcelain']) else ''}"
    except (OSError, subprocess.CalledProcessError):
        return ""


def _tool(command: list[str], pattern: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # wrk -v ends with status 1
    except FileNotFoundError:
        return ""
    found = re.search(pattern, done.stdout + done.stderr)
    return found[0].replace("/", " ") if found else ""


def _output(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
