"""The published rule of assignment is enough: written again from the page alone, it comes to the published values."""

import json
import re
from hashlib import sha256

import pytest

from strategies.core.hashes import HashName
from tests.docs.assignment_vectors import FILE, text

PAGE = FILE.with_name("assignment.md").read_text("utf-8")
VECTORS = json.loads(FILE.read_text("utf-8"))
WHOLE = 2**64


def test_the_values_are_what_the_gateway_computes():
    """If they are not: the rule must not change; if what is shown should, python -m tests.docs.assignment_vectors."""
    assert FILE.read_text("utf-8") == text()


def first8(*parts: str) -> int:
    return int.from_bytes(sha256("\x1f".join(parts).encode()).digest()[:8], "big")


def width(ppm: int) -> int:
    return ppm * WHOLE // 1_000_000


def murmur3(key: bytes, seed: int) -> int:
    def rotated(x: int, by: int) -> int:
        return (x << by | x >> 32 - by) % 2**32

    blocks = [key[at : at + 4] for at in range(0, len(key), 4)]
    h = seed
    for block in blocks:
        k = rotated(int.from_bytes(block, "little") * 0xCC9E2D51 % 2**32, 15) * 0x1B873593 % 2**32
        h ^= k
        if len(block) == 4:
            h = (rotated(h, 13) * 5 + 0xE6546B64) % 2**32
    h ^= len(key)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h = (h ^ h >> shift) * factor % 2**32
    return h


def fnv1a(key: bytes) -> int:
    h = 2166136261
    for byte in key:
        h = (h ^ byte) * 16777619 % 2**32
    return h


def by_remainder(h: int, buckets: int, shift: int = 0) -> int:
    n = h % buckets
    return (n * 2**33 + 2 * ((h - n) // 2**shift) + 1) * 2**31 // buckets


def by_the_page(name: str, salt: str, epoch: int, unit: str) -> int:
    if name == "sha256":
        return first8(f"{salt}/{epoch}", unit)
    salt = f"{salt}/{epoch}" if epoch else salt
    match name:
        case "murmur3-unleash":
            return by_remainder(murmur3(f"{salt}:{unit}".encode(), 0), 100)
        case "murmur3-optimizely":
            return murmur3((unit + salt).encode(), 1) * 2**32 + 2048
        case "fnv1a-growthbook-v2":
            return by_remainder(fnv1a(str(fnv1a((salt + unit).encode())).encode()), 10_000)
        case "sha256-statsig":
            return by_remainder(first8(f"{salt}.{unit}"), 10_000, 32)
        case "murmur3-flagd":
            return murmur3((salt + unit).encode(), 0) * 2**32 + 2048
    raise AssertionError(name)


def changed(before: list[tuple[int, int, str]], shares: list[tuple[str, int]]) -> list[tuple[int, int, str]]:
    """The map after: every step as the page has it, on (start, end, arm)."""
    last = shares[-1][0]
    target = {arm: width(ppm) for arm, ppm in shares[:-1]}
    target[last] = WHOLE - sum(target.values())
    owned = {arm: [(s, e) for s, e, owner in before if owner == arm] for arm in target}
    free = [(s, e) for s, e, owner in before if owner not in target]
    for arm, spans in owned.items():
        surplus = sum(e - s for s, e in spans) - target[arm]
        while surplus > 0:
            s, e = spans.pop(0 if arm == last else -1)
            cut = min(e - s, surplus)
            surplus -= cut
            free.append((s, s + cut) if arm == last else (e - cut, e))
            if cut < e - s:
                spans.insert(0, (s + cut, e)) if arm == last else spans.append((s, e - cut))
    for arm, spans in owned.items():
        missing = target[arm] - sum(e - s for s, e in spans)
        while missing > 0:
            s, e = min(free)
            free.remove((s, e))
            cut = min(e - s, missing)
            missing -= cut
            spans.append((s, s + cut))
            free += [(s + cut, e)] if s + cut < e else []
    return sorted((s, e, arm) for arm, spans in owned.items() for s, e in spans)


def starts(map_: list[tuple[int, int, str]]) -> list[list[str]]:
    return [[f"{s:016x}", arm] for n, (s, _, arm) in enumerate(map_) if n == 0 or map_[n - 1][2] != arm]


@pytest.mark.parametrize("vector", VECTORS["points"], ids=str)
def test_points_follow_from_the_page(vector):
    salt = f"{vector['salt']}/{vector['epoch']}"
    assert f"{first8(salt, vector['unit']):016x}" == vector["point"]


def test_widths_follow_from_the_page():
    assert all(f"{width(vector['ppm']):016x}" == vector["width"] for vector in VECTORS["widths"])


@pytest.mark.parametrize("history", VECTORS["maps"])
def test_maps_follow_from_the_page(history):
    map_ = [(0, WHOLE, "")]
    for step in history:
        map_ = changed(map_, step["shares_ppm"])
        assert starts(map_) == step["map"]


@pytest.mark.parametrize("what", ["holdout", "layer"])
def test_who_takes_part_follows_from_the_page(what):
    for vector in VECTORS[what]:
        point = first8(vector["salt"], what, vector["unit"])
        low, high = map(width, vector["range_ppm"])
        assert (f"{point:016x}", low <= point < high) == (vector["point"], vector["drawn"])


def test_shadows_follow_from_the_page():
    for vector in VECTORS["shadow"]:
        point = first8(f"{vector['salt']}/{vector['epoch']}", "shadow", vector["arm"], vector["event_id"])
        assert (point < width(vector["share_ppm"])) == vector["drawn"]
    assert {vector["drawn"] for vector in VECTORS["shadow"]} == {True, False}


@pytest.mark.parametrize("vector", VECTORS["hashes"], ids=str)
def test_hashes_follow_from_the_page(vector):
    found = by_the_page(vector["hash"], vector["salt"], vector["epoch"], vector["unit"])
    assert f"{found:016x}" == vector["point"]


def test_the_page_has_every_hash():
    assert re.findall(r"^\| `((?!hash`)[a-z0-9-]+)` \| ", PAGE, re.MULTILINE) == [name.value for name in HashName]


def test_the_example_on_the_page_is_right():
    assert f"0x{first8('exp', 'user-1'):016x}" in PAGE
