from datetime import date
from pathlib import Path

import pytest

from gateway.config.contents import Contents
from gateway.config.yaml import dump
from gateway.publishing.prepare import nothing_yet, prepare

TODAY = date(2026, 11, 26)
CANARY = {
    "turnout": "v1",
    "route": "digits",
    "arms": {
        "old": {"model": "file:old.onnx", "role": "baseline"},
        "new": {"model": "file:new.onnx", "role": "candidate"},
        "dumb": {"model": "constant:dumb.json", "role": "reserve"},
    },
    "fallback": ["old", "dumb"],
    "strategy": {"kind": "canary", "candidate": "new", "ramp": [{"share": "2%"}, {"share": "10%"}, {"share": "50%"}]},
}


def ramp(*shares: str) -> dict[str, object]:
    return {"kind": "canary", "candidate": "new", "ramp": [{"share": share} for share in shares]}


def documents(**changes: object) -> dict[str, str]:
    """One route's document with some of its words changed, as a directory's texts."""
    return {"routes/digits.yaml": dump(CANARY | changes)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory in which the models' files lie, though they are none."""
    for name in ("old.onnx", "new.onnx", "dumb.json"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def after(root: Path):
    """The meaning after some changes, from nothing."""

    def made(*changes: object, today: date = TODAY):
        meaning = nothing_yet(root)
        for change in changes:
            meaning = prepare(meaning, change, today=today, contents=Contents()).meaning
        return meaning

    return made
