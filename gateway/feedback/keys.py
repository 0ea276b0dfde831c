"""The keys of feedback, all derived from one secret that the gateways of a state share."""

from hashlib import sha256
from hmac import digest

from msgspec import Struct

UNIT_BYTES = 8


class Keys(Struct, frozen=True):
    """`id` tells keys apart and is no secret; `signing` signs tokens, `hiding` hides units and masks teams."""

    id: bytes
    signing: bytes
    hiding: bytes


def keys_of(secret: bytes) -> Keys:
    """Three keys, none of which tells anything of the others or of the secret."""
    return Keys(_derive(secret, b"id")[:4], _derive(secret, b"sign"), _derive(secret, b"unit"))


def hide_unit(keys: Keys, unit: str) -> str:
    """The name under which clicks of a unit are counted: 16 hex digits, "" for none. Another than that in events."""
    return digest(keys.hiding, unit.encode("utf-8", "surrogatepass"), sha256)[:UNIT_BYTES].hex() if unit else ""


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return digest(secret, b"turnout feedback 1 " + purpose, sha256)
