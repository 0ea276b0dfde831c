"""Hashes: how a salt and a unit become a point of [0, 2^64). Ours, and those of systems that users come from.

A foreign system deals its units into N buckets. Here bucket n is the interval [n/N, (n+1)/N) of the points, so that
maps, shares and differences need not know whose hash it is. Every point keeps a distance from the edges of its bucket:
the edges of a map are rounded to whole points, and no rounding may push a unit over.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct

from strategies.core.assignment import effective_salt, point_of, salted

WORD = 0xFFFFFFFF
FNV_START, FNV_PRIME = 0x811C9DC5, 0x01000193
INWARDS = 1 << 11  # points; an edge of a millionth lies at least 2^32 / 10^6 from the next place of a 32 bit hash


class HashName(StrEnum):
    """What operators write. Foreign names say the function, then the system whose keys and buckets are kept."""

    SHA256 = "sha256"
    UNLEASH = "murmur3-unleash"
    OPTIMIZELY = "murmur3-optimizely"
    GROWTHBOOK = "fnv1a-growthbook-v2"
    STATSIG = "sha256-statsig"
    FLAGD = "murmur3-flagd"


class Hash(Struct, frozen=True):
    """`prefix` makes of a salt what is hashed with every unit, once per route; `point_of` takes that and a unit."""

    prefix: Callable[[str], bytes]
    point_of: Callable[[bytes, bytes], int]

    def at(self, salt: str, unit: bytes) -> int:
        """The unit's point, for whoever asks once."""
        return self.point_of(self.prefix(salt), unit)


def text_to_hash(name: HashName, salt: str, epoch: int) -> str:
    """The salt as it is hashed. Foreign systems know no epochs: theirs is the salt as it stands, until the first."""
    return salt if name is not HashName.SHA256 and epoch == 0 else effective_salt(salt, epoch)


def murmur3(key: bytes, seed: int = 0) -> int:
    """MurmurHash3, x86, 32 bits (Austin Appleby, public domain)."""
    hashed, end = seed, len(key) & ~3
    for start in range(0, end, 4):
        hashed ^= _scrambled(int.from_bytes(key[start : start + 4], "little"))
        hashed = (hashed << 13 | hashed >> 19) & WORD
        hashed = (hashed * 5 + 0xE6546B64) & WORD
    hashed ^= _scrambled(int.from_bytes(key[end:], "little")) ^ len(key)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & WORD
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & WORD
    return hashed ^ hashed >> 16


def fnv1a(key: bytes) -> int:
    """FNV-1a, 32 bits (Fowler, Noll, Vo)."""
    hashed = FNV_START
    for byte in key:
        hashed = (hashed ^ byte) * FNV_PRIME & WORD
    return hashed


def from_remainder(hashed: int, bits: int, buckets: int) -> int:
    """A point of the bucket `hashed % buckets`. The quotient spreads units over it, for shares finer than a bucket."""
    bucket = hashed % buckets
    within = (hashed - bucket) >> (bits - 32)
    return ((bucket << 33) + 2 * within + 1 << 31) // buckets  # in the middle of its 2^32nd part of the bucket


def from_scale(hashed: int) -> int:
    """A point of the bucket `hashed * N >> 32`, for any N that divides a million."""
    return (hashed << 32) + INWARDS


def _scrambled(block: int) -> int:
    block = block * 0xCC9E2D51 & WORD
    return (block << 15 | block >> 17) * 0x1B873593 & WORD


def _unleash(prefix: bytes, unit: bytes) -> int:
    return from_remainder(murmur3(prefix + unit), 32, 100)


def _optimizely(suffix: bytes, unit: bytes) -> int:
    return from_scale(murmur3(unit + suffix, 1))


def _growthbook(prefix: bytes, unit: bytes) -> int:
    return from_remainder(fnv1a(str(fnv1a(prefix + unit)).encode()), 32, 10_000)


def _statsig(prefix: bytes, unit: bytes) -> int:
    return from_remainder(int.from_bytes(sha256(prefix + unit).digest()[:8]), 64, 10_000)


def _flagd(prefix: bytes, unit: bytes) -> int:
    return from_scale(murmur3(prefix + unit))


HASHES: Mapping[HashName, Hash] = {
    HashName.SHA256: Hash(salted, point_of),
    HashName.UNLEASH: Hash(lambda salt: f"{salt}:".encode(), _unleash),
    HashName.OPTIMIZELY: Hash(str.encode, _optimizely),
    HashName.GROWTHBOOK: Hash(str.encode, _growthbook),
    HashName.STATSIG: Hash(lambda salt: f"{salt}.".encode(), _statsig),
    HashName.FLAGD: Hash(str.encode, _flagd),
}
