"""Whether the stock clients of `make clients` are there: all, none, or left by half."""

from pathlib import Path


def missing_clients(root: Path, environment: str) -> tuple[str, bool]:
    """What is wrong with an environment, "" if nothing is, and whether it may be missing: nobody has begun to make it.

    One that was made by half has a Python and perhaps not the client, and a test that is skipped for it never ran.
    """
    folder = root / environment
    if not environment.startswith(".venv-"):  # the one these tests run in
        return "", True
    if (folder / ".installed" / environment.removeprefix(".venv-")).exists():  # written when all of it was installed
        return "", True
    if not folder.exists():
        return f"{environment} is missing; cure: make clients", True
    return f"{environment} was made by half; cure: make clients", False
