"""A canary on disk, and streams of observations for it."""

import json
import random
from collections.abc import Iterator

import pytest

from gateway.config.directory import load_file
from gateway.simulation.setup import Setup, setup_of

ROUTE = """\
turnout: v1
route: fraud
arms:
  old: {model: "file:old.onnx", role: baseline}
  new: {model: "file:new.onnx", role: candidate}
strategy:
  kind: canary
  candidate: new
  ramp: [{share: 10%, bake: 30s}, {share: 50%, bake: 30s}]
  guardrails: [{metric: error_rate, no_worse_than: 3x}]
"""


@pytest.fixture
def write_route(tmp_path):
    """A route's file, with words replaced."""

    def write(*changes: tuple[str, str]):
        text = ROUTE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "fraud.yaml"
        file.write_text(text)
        return file

    return write


@pytest.fixture
def setup(write_route):
    """A route's file with its meaning, with words replaced."""

    def build(*changes: tuple[str, str]) -> Setup:
        return setup_of(load_file(write_route(*changes)))

    return build


def requests(
    run: object,
    count: int,
    *,
    rate: float = 100.0,
    errors: float = 0.01,
    harm: float = 1.0,
    seed: int = 7,
    after_s: float = 0.0,
    start: float = 0.0,
) -> Iterator[dict[str, object]]:
    """Requests of units that come once; the candidate has `harm` times the errors from `after_s` on."""
    chance = random.Random(f"{run}/{seed}")
    for number in range(count):
        t = start + number / rate
        draw = chance.random()
        line = {"run": run, "t": t, "unit": f"{run}-{number}", "ok": draw >= errors}
        if t >= after_s + start and (draw < errors) != (draw < errors * harm):
            line["by_arm"] = {"new": {"ok": draw >= errors * harm}}
        yield line


def as_lines(observations) -> list[bytes]:
    return [json.dumps(each).encode() + b"\n" for each in observations]
