"""The assignment rule: a hash, integers, and a map that moves as few units as it can."""

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.arm import Arm, Role
from strategies.core.assignment import (
    POINTS,
    Allocation,
    effective_salt,
    moves,
    point_of,
    reallocate,
    salted,
    unit_bytes,
    width_of,
)
from strategies.core.plan import WHOLE_PPM, Plan

NAMES = ("a", "b", "c", "base")


def plans_of(shares: dict[str, int]) -> tuple[Plan, ...]:
    arms = {name: Arm(index, name, Role.CANDIDATE, "") for index, name in enumerate(NAMES)}
    return tuple(Plan(assigned=arms[name], serve=(arms[name],), share_ppm=share) for name, share in shares.items())


def widths_of(allocation: Allocation) -> dict[str, int]:
    widths: dict[str, int] = {}
    for start, end, plan in allocation.intervals():
        widths[plan.assigned.name] = widths.get(plan.assigned.name, 0) + end - start
    return widths


@st.composite
def shares(draw: st.DrawFn) -> dict[str, int]:
    cuts = sorted(draw(st.lists(st.integers(0, WHOLE_PPM), min_size=3, max_size=3)))
    edges = [0, *cuts, WHOLE_PPM]
    return {name: high - low for name, (low, high) in zip(NAMES, pairwise(edges), strict=True)}


@pytest.mark.parametrize(
    ("salt", "unit", "expected"),
    [
        ("exp", "user-1", 0x191BD323095D25C2),
        ("exp", "ユーザー", 0x5326DEC2E056CD30),
        ("exp", "😀", 0xDDD70191DB635490),
        ("", "", 0xFFE679BB831C95B6),
    ],
)
def test_points_are_the_published_ones(salt, unit, expected):
    """Anyone can compute where a unit lands, in any language."""
    assert point_of(salted(salt), unit_bytes(unit)) == expected


def test_points_do_not_depend_on_the_process():
    """A restart deals nobody afresh."""
    code = (
        "from strategies.core.assignment import *;"
        "print([point_of(salted('digits/0'), unit_bytes(str(n))) for n in range(50)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "4711")
    }

    assert len(outputs) == 1


def test_bytes_that_are_no_text_keep_their_value():
    """A unit is hashed as it came over the wire."""
    raw = b"caf\xe9"

    assert unit_bytes(raw.decode("utf-8", "surrogateescape")) == raw


def test_a_new_epoch_deals_every_unit_afresh():
    first, second = (salted(effective_salt("digits", epoch)) for epoch in (0, 1))

    assert point_of(first, b"user-1") != point_of(second, b"user-1")


@pytest.mark.parametrize(("ppm", "expected"), [(0, 0), (WHOLE_PPM, POINTS), (290_000, 29 * POINTS // 100)])
def test_shares_are_exact(ppm, expected):
    """29 % is 29 %, not the 28 that floating point makes of it."""
    assert width_of(ppm) == expected


def test_candidates_own_the_lowest_points():
    """A unit below the share meets the candidate: the rule fits in one comparison."""
    allocation = reallocate(None, plans_of({"a": 50_000, "base": 950_000}))

    assert [(start, plan.assigned.name) for start, _, plan in allocation.intervals()] == [
        (0, "a"),
        (width_of(50_000), "base"),
    ]


@given(shares())
def test_every_point_has_one_owner_and_every_arm_its_share(wanted):
    """No unit falls between two arms, and nobody gets more than was written."""
    widths = widths_of(reallocate(None, plans_of(wanted)))

    assert sum(widths.values()) == POINTS
    for name in NAMES[:-1]:
        assert widths.get(name, 0) == width_of(wanted[name])


@given(shares(), shares(), shares())
def test_a_changed_map_moves_the_fewest_points(first, second, third):
    """An operator who changes shares disturbs nobody who need not be disturbed, however often shares have changed."""
    allocation = reallocate(None, plans_of(first))
    for wanted in (second, third):
        before, allocation = allocation, reallocate(allocation, plans_of(wanted))
        old, new = widths_of(before), widths_of(allocation)
        fewest = sum(max(0, old.get(name, 0) - new.get(name, 0)) for name in NAMES)
        assert sum(moves(before, allocation).values()) == fewest


@given(shares(), shares())
def test_moves_are_what_units_would_see(first, second):
    """The count over the map equals a count over units that stand evenly spread."""
    first, second = ({name: ppm // 1_000 * 1_000 for name, ppm in wanted.items()} for wanted in (first, second))
    for wanted in (first, second):
        wanted["base"] += WHOLE_PPM - sum(wanted.values())
    before = reallocate(None, plans_of(first))
    after = reallocate(before, plans_of(second))
    seen: dict[tuple[str, str], int] = {}
    for unit in range(1_000):
        pair = tuple(each.at((2 * unit + 1) * POINTS // 2_000).assigned.name for each in (before, after))
        if pair[0] != pair[1]:
            seen[pair] = seen.get(pair, 0) + 1

    told = {pair: round(points * 1_000 / POINTS) for pair, points in moves(before, after).items()}
    assert {pair: units for pair, units in told.items() if units} == seen


@given(st.lists(st.integers(0, WHOLE_PPM), min_size=2, max_size=6).map(sorted))
def test_a_ramp_only_adds_units(ramp):
    """Whoever met the candidate at 5 % still meets it at 50 %."""
    allocation = None
    for share in ramp:
        before, allocation = allocation, reallocate(allocation, plans_of({"a": share, "base": WHOLE_PPM - share}))
        if before:
            assert set(moves(before, allocation)) <= {("base", "a")}


@given(st.integers(0, WHOLE_PPM), st.integers(0, WHOLE_PPM))
def test_narrowing_a_canary_undoes_its_widening(small, large):
    """Going back from 50 % to 5 % gives the candidate the same 5 % it had."""
    small, large = sorted((small, large))
    narrow = reallocate(None, plans_of({"a": small, "base": WHOLE_PPM - small}))
    wide = reallocate(narrow, plans_of({"a": large, "base": WHOLE_PPM - large}))

    assert reallocate(wide, plans_of({"a": small, "base": WHOLE_PPM - small})) == narrow


def test_a_canary_at_half_becomes_an_ab_test_without_moving_anybody():
    canary = reallocate(None, plans_of({"a": 500_000, "base": 500_000}))

    assert moves(canary, reallocate(canary, plans_of({"a": 500_000, "base": 500_000}))) == {}


def test_a_third_arm_takes_its_share_evenly():
    """Two arms that both give way give way by the same amount."""
    two = reallocate(None, plans_of({"a": 500_000, "base": 500_000}))
    given = moves(two, reallocate(two, plans_of({"a": 400_000, "b": 200_000, "base": 400_000})))

    assert given.keys() == {("a", "b"), ("base", "b")}
    assert abs(given["a", "b"] - given["base", "b"]) <= 2


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="must sum to 1000000 ppm, not 900000"):
        reallocate(None, plans_of({"a": 400_000, "base": 500_000}))


def chi_square(counts: list[int]) -> float:
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.parametrize("unit", ["{}", "user-{}@example.org", "0000-{:08x}"])
@pytest.mark.parametrize("salt", ["digits/0", "digits/1", "fraud/0"])
def test_units_of_any_kind_spread_evenly(salt, unit):
    """Counters, e-mail addresses and hex ids fill a hundred bins alike; 99 degrees of freedom, p > 1e-4."""
    bins = [0] * 100
    prefix = salted(salt)
    for number in range(100_000):
        bins[point_of(prefix, unit.format(number).encode()) * 100 >> 64] += 1

    assert chi_square(bins) < 160.7


def test_two_experiments_are_independent():
    """Where a unit lands under one salt says nothing about another; 81 degrees of freedom, p > 1e-4."""
    cells = [0] * 100
    for number in range(60_000):
        first, second = (point_of(salted(salt), str(number).encode()) * 10 >> 64 for salt in ("one/0", "two/0"))
        cells[first * 10 + second] += 1

    assert chi_square(cells) < 137.2
