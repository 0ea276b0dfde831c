"""Writes docs/assignment-vectors.json from what the gateway computes: python -m tests.docs.assignment_vectors."""

import json
from pathlib import Path

from strategies.core.arm import Arm, Role
from strategies.core.assignment import Allocation, effective_salt, point_of, reallocate, salted, unit_bytes, width_of
from strategies.core.decider import shadow_draw
from strategies.core.enrolment import held_out, in_layer
from strategies.core.hashes import HASHES, HashName, text_to_hash
from strategies.core.plan import WHOLE_PPM, Plan, RequestFacts

FILE = Path(__file__).parents[2] / "docs" / "assignment-vectors.json"
UNITS = ("user-1", "user-2", "7", "ユーザー", "😀", "é", "e\u0301", " user-1", "a" * 100)
SHARES_PPM = (0, 1, 333_333, 500_000, 999_999)
HISTORIES: tuple[tuple[dict[str, int], ...], ...] = (
    ({"new": 50_000, "old": 950_000}, {"new": 250_000, "old": 750_000}, {"new": 70_000, "old": 930_000}),
    ({"b": 300_000, "c": 200_000, "a": 500_000}, {"b": 100_000, "c": 333_333, "a": 566_667}),
    ({"b": 300_000, "c": 200_000, "a": 500_000}, {"c": 400_000, "d": 100_001, "a": 499_999}, {"a": WHOLE_PPM}),
    ({"b": 100_000, "c": 800_000, "a": 100_000}, {"b": 450_000, "c": 100_000, "a": 450_000}),
)


def vectors() -> dict[str, object]:
    """All values; points are hexadecimal text, for many readers of JSON keep 53 bits of a number."""
    return {
        "points": [_point(salt, epoch, unit) for salt, epoch in (("digits", 0), ("digits", 12)) for unit in UNITS],
        "widths": [{"ppm": ppm, "width": _hex(width_of(ppm))} for ppm in SHARES_PPM],
        "maps": [_history(history) for history in HISTORIES],
        "holdout": [_drawn("holdout", (0, 20_000), unit) for unit in UNITS],
        "layer": [_drawn("checkout", (0, 200_000), unit) for unit in UNITS],
        "shadow": [_shadow(f"event-{number}") for number in range(8)],
        "hashes": [_hashed(name, epoch, unit) for name in HashName for epoch in (0, 1) for unit in UNITS],
    }


def text() -> str:
    """The file's content, a vector a line."""
    groups = (
        f'"{name}": [\n' + ",\n".join(json.dumps(each, ensure_ascii=False) for each in found) + "\n]"  # type: ignore[attr-defined]
        for name, found in vectors().items()
    )
    return "{\n" + ",\n".join(groups) + "\n}\n"


def _hex(point: int) -> str:
    return f"{point:016x}"


def _point(salt: str, epoch: int, unit: str) -> dict[str, object]:
    point = point_of(salted(effective_salt(salt, epoch)), unit_bytes(unit))
    return {"salt": salt, "epoch": epoch, "unit": unit, "point": _hex(point)}


def _history(history: tuple[dict[str, int], ...]) -> list[dict[str, object]]:
    found: Allocation | None = None
    steps = []
    for shares in history:
        arms = {name: Arm(0, name, Role.CANDIDATE, "") for name in shares}
        found = reallocate(found, tuple(Plan(arms[name], (arms[name],), share_ppm=ppm) for name, ppm in shares.items()))
        intervals = [[_hex(start), plan.serve[0].name] for start, _, plan in found.intervals()]
        steps.append({"shares_ppm": list(shares.items()), "map": intervals})
    return steps


def _drawn(salt: str, range_ppm: tuple[int, int], unit: str) -> dict[str, object]:
    draw = held_out(salt, range_ppm[1]) if salt == "holdout" else in_layer(salt, range_ppm)
    facts = RequestFacts(event_id="", unit=unit, point=0)
    point, drawn = _hex(draw.point_of(facts)), draw.takes(facts)
    return {"salt": salt, "range_ppm": range_ppm, "unit": unit, "point": point, "drawn": drawn}


def _shadow(event_id: str) -> dict[str, object]:
    draw = shadow_draw(effective_salt("digits", 0), Arm(0, "new", Role.CANDIDATE, ""), 500_000)
    return {
        "salt": "digits", "epoch": 0, "arm": "new", "share_ppm": 500_000, "event_id": event_id,
        "drawn": draw.is_drawn(event_id.encode()),
    }  # fmt: skip


def _hashed(name: HashName, epoch: int, unit: str) -> dict[str, object]:
    point = HASHES[name].at(text_to_hash(name, "flag", epoch), unit_bytes(unit))
    return {"hash": name.value, "salt": "flag", "epoch": epoch, "unit": unit, "point": _hex(point)}


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
