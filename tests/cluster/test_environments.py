"""Clients that are skipped were never asked, so only those may be that nobody meant to ask."""

import sys

from tests.cluster.environments import missing_clients


def test_a_client_may_be_missing_but_not_by_half(tmp_path):
    """An installation that failed leaves a Python without the client."""
    name = ".venv-kserve"
    assert (".venv-kserve is missing; cure: make clients", True) == missing_clients(tmp_path, name)
    (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / name / "bin" / "python").touch()
    assert (".venv-kserve was made by half; cure: make clients", False) == missing_clients(tmp_path, name)
    (tmp_path / name / ".installed").mkdir()
    (tmp_path / name / ".installed" / "kserve").touch()
    assert ("", True) == missing_clients(tmp_path, name)


def test_a_client_that_needs_no_environment_is_there(tmp_path):
    assert ("", True) == missing_clients(tmp_path, sys.prefix)
