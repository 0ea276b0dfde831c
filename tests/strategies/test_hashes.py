"""Other systems' hashes: their published vectors, their buckets as intervals of ours, and even spreads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.arm import Arm, Role
from strategies.core.assignment import POINTS, effective_salt, point_of, reallocate, salted, width_of
from strategies.core.hashes import HASHES, HashName, fnv1a, from_remainder, from_scale, murmur3, text_to_hash
from strategies.core.plan import WHOLE_PPM, Plan

FOX = "The quick brown fox jumps over the lazy dog"
LONG = "a very very very very very very very very very very very very very very very long ppd string"
VARIANTS_SEED = 86028157  # Unleash's, for variants
BUCKETS = {
    HashName.UNLEASH: 100,
    HashName.OPTIMIZELY: 10_000,
    HashName.GROWTHBOOK: 10_000,
    HashName.STATSIG: 10_000,
    HashName.FLAGD: 100,
}


def bucket(name: HashName, salt: str, unit: str) -> int:
    return HASHES[name].at(salt, unit.encode()) * BUCKETS[name] >> 64


@pytest.mark.parametrize(
    ("text", "seed", "expected"),
    [
        ("", 0, 0), ("", 1, 0x514E28B7), ("", 0xFFFFFFFF, 0x81F16F39),
        ("test", 0, 0xBA6BD213), ("test", 0x9747B28C, 0x704B81DC),
        ("Hello, world!", 0, 0xC0363E43), ("Hello, world!", 0x9747B28C, 0x24884CBA),
        (FOX, 0, 0x2E4FF723), (FOX, 0x9747B28C, 0x2FA826CD),
        ("ejOoVL", 0, 0), ("bY9fO-", 0, 1), ("SI7p-", 0, 0x7FFFFFFF),
        ("6LvT0", 0, 0x80000000), ("ceQdGm", 0, 0xFFFFFFFF),
    ],
)  # fmt: skip
def test_murmur3_is_the_canonical_one(text, seed, expected):
    assert murmur3(text.encode(), seed) == expected


@given(st.binary(max_size=40), st.integers(0, 0xFFFFFFFF))
def test_murmur3_is_what_the_well_known_package_computes(key, seed):
    mmh3 = pytest.importorskip("mmh3")
    assert murmur3(key, seed) == mmh3.hash(key, seed, signed=False)


@pytest.mark.parametrize(("key", "expected"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)])
def test_fnv1a_is_the_canonical_one(key, expected):
    assert fnv1a(key) == expected


@pytest.mark.parametrize(
    ("group", "unit", "value"),
    [
        ("AB12A", "122", 23), ("AB12A", "155", 100),
        ("Feature.flexibleRollout.10", "174", 10), ("Feature.flexibleRollout.10", "499", 32),
        ("Feature.flexibleRollout.userId.55", "25", 55), ("Feature.flexibleRollout.sessionId.42", "147", 42),
        ("Feature.flexible.rollout.custom.stickiness_50", "402", 55),
        ("Feature.flexible.rollout.custom.stickiness_50", "388", 10),
        ("Feature.flexible.rollout.custom.stickiness_50", "39", 25),
    ],
)  # fmt: skip
def test_unleash_rollouts_keep_their_buckets(group, unit, value):
    """Unleash counts its hundred buckets from one."""
    assert bucket(HashName.UNLEASH, group, unit) + 1 == value


@pytest.mark.parametrize(
    ("group", "total", "unit", "value"),
    [
        ("Feature.Variants.B", 2, "2", 2), ("Feature.Variants.B", 2, "0", 1),
        ("Feature.Variants.C", 99, "232", 18), ("Feature.Variants.C", 99, "607", 58),
        ("Feature.Variants.C", 99, "656", 94),
        ("Feature.Variants.D", 100, "712", 1), ("Feature.Variants.D", 100, "525", 30),
        ("Feature.Variants.D", 100, "537", 70),
        ("Feature.Variants.override.D", 100, "388", 55),
        ("Feature.flexible.rollout.custom.stickiness_100", 100, "616", 15),
        ("Feature.flexible.rollout.custom.stickiness_100", 100, "503", 35),
        ("Feature.flexible.rollout.custom.stickiness_100", 100, "438", 60),
        ("Feature.flexible.rollout.custom.stickiness_100", 100, "44", 98),
        ("a", 2, "5", 1), ("a", 2, "0", 2),
    ],
)  # fmt: skip
def test_murmur3_with_a_seed_gives_unleash_its_variants(group, total, unit, value):
    assert murmur3(f"{group}:{unit}".encode(), VARIANTS_SEED) % total + 1 == value


@pytest.mark.parametrize(
    ("parent", "unit", "value"),
    [
        ("1886780721", "ppid1", 5254), ("1886780721", "ppid2", 4299), ("1886780721", "ppid3", 5439),
        ("1886780722", "ppid2", 2434), ("1886780721", LONG, 6128),
    ],
)  # fmt: skip
def test_optimizely_experiments_keep_their_buckets(parent, unit, value):
    assert bucket(HashName.OPTIMIZELY, parent, unit) == value


@pytest.mark.parametrize(
    ("seed", "unit", "value"),
    [
        ("seed", "a", 505), ("seed", "b", 2696), ("foo", "ab", 2575), ("foo", "def", 2019),
        ("89123klj", "8952klfjas09ujkasdf", 1240), ("90850943850283058242805", "123", 7516),
        ("()**(%$##$%#$#", '___)((*":&', 128),
    ],
)  # fmt: skip
def test_growthbook_experiments_keep_their_buckets(seed, unit, value):
    assert bucket(HashName.GROWTHBOOK, seed, unit) == value


@pytest.mark.parametrize(("unit", "value"), [("user-1", 8512), ("user-2", 7962)])
def test_statsig_gates_keep_their_buckets(unit, value):
    assert bucket(HashName.STATSIG, "salt.rule", unit) == value


@pytest.mark.parametrize(
    ("key", "unit", "suit"),
    [
        ("fractional-flag", "jack", 2), ("fractional-flag", "queen", 3), ("fractional-flag", "ten", 0),
        ("fractional-flag", "nine", 1), ("fractional-flag", "3", 0),
        ("shared-seed", "seven", 2), ("shared-seed", "eight", 1), ("shared-seed", "nine", 0), ("shared-seed", "two", 3),
    ],
)  # fmt: skip
def test_flagd_fractions_keep_their_variants(key, unit, suit):
    """Four variants of a quarter each: clubs, diamonds, hearts, spades."""
    assert bucket(HashName.FLAGD, key, unit) // 25 == suit


@pytest.mark.parametrize(("unit", "half"), [("ejOoVL", 0), ("bY9fO-", 0), ("SI7p-", 0), ("6LvT0", 1), ("ceQdGm", 1)])
def test_flagd_halves_meet_in_the_middle(unit, half):
    assert HASHES[HashName.FLAGD].at("", unit.encode()) >> 63 == half


divisors = st.sampled_from([n for n in range(1, WHOLE_PPM + 1) if WHOLE_PPM % n == 0])
margin = st.integers(-100, 100)  # more than the rounding of any map's edges


@given(st.integers(0, 0xFFFFFFFF), divisors, margin)
def test_scaled_buckets_are_intervals_however_edges_round(hashed, buckets, margin):
    assert (from_scale(hashed) + margin) * buckets >> 64 == hashed * buckets >> 32


@given(st.integers(0, 0xFFFFFFFF), st.sampled_from([100, 1_000, 10_000]), margin)
def test_buckets_of_32_bit_remainders_are_intervals_however_edges_round(hashed, buckets, margin):
    assert (from_remainder(hashed, 32, buckets) + margin) * buckets >> 64 == hashed % buckets


@given(st.integers(0, POINTS - 1), st.sampled_from([100, 1_000, 10_000]), margin)
def test_buckets_of_64_bit_remainders_are_intervals_however_edges_round(hashed, buckets, margin):
    assert (from_remainder(hashed, 64, buckets) + margin) * buckets >> 64 == hashed % buckets


@pytest.mark.parametrize("hashed", [0, 1, 99, 100, 0xFFFFFFFF - 99, 0xFFFFFFFF - 100, 0xFFFFFFFF])
def test_every_point_is_one(hashed):
    assert 0 <= from_remainder(hashed, 32, 100) < POINTS
    assert 0 <= from_scale(hashed) < POINTS


@pytest.mark.parametrize("name", BUCKETS)
@given(unit=st.text(max_size=20), percents=st.lists(st.integers(0, 50), min_size=1, max_size=4))
def test_a_share_takes_exactly_the_buckets_below_it(name, unit, percents):
    """However often the share is changed, who has the candidate is who has it in the other system."""
    arms = [Arm(0, "candidate", Role.CANDIDATE, ""), Arm(1, "baseline", Role.BASELINE, "")]
    point, found = HASHES[name].at("flag", unit.encode()), None
    for percent in percents:
        shares = percent * 10_000, WHOLE_PPM - percent * 10_000
        plans = tuple(Plan(arm, (arm,), share_ppm=share) for arm, share in zip(arms, shares, strict=True))
        found = reallocate(found, plans)
        taken = found.at(point).assigned.name == "candidate"
        assert taken == (bucket(name, "flag", unit) * 100 < percent * BUCKETS[name])


@pytest.mark.parametrize("name", HashName)
@pytest.mark.parametrize("unit", ["{}", "user-{}@example.com"])
def test_units_spread_evenly_and_within_buckets_too(name, unit):
    """Two hundred bins, finer than a bucket of Unleash; 199 degrees of freedom, p > 1e-4."""
    bins = [0] * 200
    for number in range(20_000):
        bins[HASHES[name].at("digits", unit.format(number).encode()) * 200 >> 64] += 1
    assert sum((found - 100) ** 2 / 100 for found in bins) < 282


@pytest.mark.parametrize("name", HashName)
def test_two_salts_deal_independently(name):
    """81 degrees of freedom, p > 1e-4."""
    table = [[0] * 10 for _ in range(10)]
    for number in range(10_000):
        first, second = (HASHES[name].at(salt, str(number).encode()) * 10 >> 64 for salt in ("one", "two"))
        table[first][second] += 1
    assert sum((found - 100) ** 2 / 100 for row in table for found in row) < 145


def test_our_own_hash_is_what_it_was():
    assert HASHES[HashName.SHA256].at("exp", b"user-1") == point_of(salted("exp"), b"user-1") == 0x191BD323095D25C2


@pytest.mark.parametrize("name", BUCKETS)
def test_a_foreign_salt_stands_as_it_is_until_an_epoch_is_written(name):
    assert text_to_hash(name, "flag", 0) == "flag"
    assert text_to_hash(name, "flag", 2) == "flag/2"
    assert text_to_hash(HashName.SHA256, "flag", 0) == effective_salt("flag") == "flag/0"


def test_units_that_are_no_text_are_hashed_as_bytes():
    for each in HASHES.values():
        assert 0 <= each.at("flag", b"\xff\xfe") < POINTS


def test_edges_of_shares_round_by_less_than_points_keep_from_them():
    assert all(n * POINTS // 10_000 - width_of(n * 100) in (0, 1) for n in range(10_000))
