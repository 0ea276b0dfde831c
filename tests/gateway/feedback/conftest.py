"""Gateways on states that a test names, so that it can start one again where another stopped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.feedback.shop import write_shop


@pytest.fixture
def serve(gateway_process) -> Iterator:
    """Starts gateways; whatever still runs at the end is killed."""
    started = []

    def start(config: Path, state: Path, *arguments: str):
        started.append(gateway_process([str(config), *arguments], state, {}))
        return started[-1]

    yield start
    for gateway in started:
        gateway.kill()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A shop with one route, `shop`."""
    return write_shop(tmp_path / "config", ["shop"])
