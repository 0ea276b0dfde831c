"""Tokens: what an answer with merged lists carries so that clicks on it can be credited later. Signed, never stored.

A token is base64url, unpadded, of: the version, 1 byte; the key's id, 4; HMAC-SHA256 over all that follows and the five
bytes before, cut to 16; and a `Sealed` in MessagePack. Items are kept as digests of 5 bytes, so a list of ten takes 60.
Whose each place is can be read by nobody without the secret: it is masked, as a reader who knew would not choose blind.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from hashlib import sha256, shake_256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.feedback.keys import Keys
from gateway.link import Click

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

VERSION = 1
HEAD_BYTES = 5
MAC_BYTES = 16
ITEM_BYTES = 5  # that two items of a list of a hundred share a digest happens once in two hundred million lists
NOBODYS, SEVERALS = 255, -1
RANKERS_LIMIT = 32
PLACES_LIMIT = 2048  # of all rows together: 12 KiB. Rows beyond carry no credit, and clicks there are unknown items
TEXT_LIMIT = 1 << 16  # characters of a token that are looked at
WHOLE = 1_000_000
PART_BYTES = 3  # of a part in millionths


class Shown(Protocol):
    """A merged list as it was shown: one row of an answer."""

    @property
    def row(self) -> int: ...
    @property
    def items(self) -> tuple[str, ...]: ...
    @property
    def rankers(self) -> tuple[str, ...]: ...
    @property
    def shares(self) -> tuple[tuple[Fraction, ...], ...]: ...


class TokenFault(Exception):
    """A token that is worth nothing here. `code` is forged, foreign or late."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Row(Struct, frozen=True, array_like=True):
    """The credit of one list. `teams` has a byte for each place: a ranker's index, or 255 for a place of nobody.

    Where places `is_shared` among rankers, it has the parts of each place instead, in millionths of 3 bytes each,
    place after place.
    """

    row: int
    digests: bytes
    teams: bytes
    is_shared: bool = False


class Sealed(Struct, frozen=True, array_like=True):
    """What a token says. `shown_ms` is Unix time in milliseconds; `unit` a digest or ""."""

    event_id: str
    shown_ms: int
    route: str
    experiment: str
    unit: str
    rankers: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def shown_at(self) -> float:
        return self.shown_ms / 1e3


class Origin(Struct, frozen=True):
    """Where merged lists were shown and when, in Unix seconds."""

    event_id: str
    route: str
    experiment: str
    unit: str
    shown_at: float


def seal(keys: Keys, origin: Origin, lists: Sequence[Shown]) -> str:
    """A token for the merged lists of one answer, all by the same rankers. `origin.unit` is a digest already."""
    rows: list[Row] = []
    room_n = PLACES_LIMIT
    for shown in lists:
        room_n -= len(shown.items)
        if room_n < 0:
            break
        rows.append(_masked(keys, origin.event_id, _row(origin.event_id, shown)))
    sealed = Sealed(
        origin.event_id,
        round(origin.shown_at * 1e3),
        origin.route,
        origin.experiment,
        origin.unit,
        lists[0].rankers,
        tuple(rows),
    )
    body = _encode(sealed)
    head = bytes((VERSION,)) + keys.id
    return urlsafe_b64encode(head + _mac(keys, head, body) + body).rstrip(b"=").decode()


def unseal(keys: Keys, token: str, *, now: float, window_s: float) -> Sealed:
    """What a token says. Raises TokenFault when it is not ours, or older than the window."""
    raw = _raw(token)
    head, mac, body = raw[:HEAD_BYTES], raw[HEAD_BYTES : HEAD_BYTES + MAC_BYTES], raw[HEAD_BYTES + MAC_BYTES :]
    if head[0] != VERSION:
        raise TokenFault("foreign", f"the token has version {head[0]}, this gateway knows version {VERSION}")
    if head[1:] != keys.id:
        raise TokenFault("foreign", "the token is of a gateway that does not share this one's state")
    if not compare_digest(mac, _mac(keys, head, body)):
        raise TokenFault("forged", "the token's signature does not hold; send it as the answer carried it")
    sealed = _decode(body)
    if now - sealed.shown_at > window_s:
        raise TokenFault("late", f"the list was shown more than {window_s:g} s ago; clicks count that long")
    return replace(sealed, rows=tuple([_masked(keys, sealed.event_id, row) for row in sealed.rows]))


def click_of(sealed: Sealed, row: int, item: str) -> Click | None:
    """A click on an item of a row, None when the token knows of no such item there."""
    for each in sealed.rows:
        if each.row == row:
            place = _find(each.digests, _digest(sealed.event_id, row, item))
            return None if place < 0 else _click(sealed, each, place)
    return None


def _click(sealed: Sealed, row: Row, place: int) -> Click:
    rankers_n = len(sealed.rankers)
    if row.is_shared:
        parts = row.teams[place * rankers_n * PART_BYTES : (place + 1) * rankers_n * PART_BYTES]
        credits_ = tuple(int.from_bytes(parts[at : at + PART_BYTES]) for at in range(0, len(parts), PART_BYTES))
    else:
        team = row.teams[place]
        credits_ = () if team == NOBODYS else tuple(WHOLE * (team == ranker) for ranker in range(rankers_n))
    if not any(credits_):
        credits_ = ()
    return Click(
        sealed.experiment, sealed.event_id, row.row, place, sealed.unit, sealed.shown_at, sealed.rankers, credits_
    )


def _row(event_id: str, shown: Shown) -> Row:
    begun = _begin_digest(event_id, shown.row)
    digests = b"".join([_end_digest(begun, item) for item in shown.items])
    teams = [_team(shares) for shares in shown.shares]
    if SEVERALS not in teams:
        return Row(shown.row, digests, bytes(teams))
    rankers_n = len(shown.rankers)
    parts = [round(WHOLE * share) for shares in shown.shares for share in (shares or (Fraction(0),) * rankers_n)]
    return Row(shown.row, digests, b"".join([part.to_bytes(PART_BYTES) for part in parts]), is_shared=True)


def _masked(keys: Keys, event_id: str, row: Row) -> Row:
    """The row with whose each place is hidden, or shown again. No two rows have one mask."""
    size = len(row.teams)
    mask = shake_256(keys.hiding + f"{event_id}\x1f{row.row}".encode("utf-8", "surrogatepass")).digest(size)
    hidden = (int.from_bytes(row.teams) ^ int.from_bytes(mask)).to_bytes(size)
    return Row(row.row, row.digests, hidden, row.is_shared)


def _team(shares: tuple[Fraction, ...]) -> int:
    """Whose a place is. Every answer asks this for every place, and comparing fractions to numbers is slow."""
    for ranker, share in enumerate(shares):
        if share.numerator:
            return ranker if share.numerator == share.denominator else SEVERALS
    return NOBODYS


def _digest(event_id: str, row: int, item: str) -> bytes:
    return _end_digest(_begin_digest(event_id, row), item)


def _begin_digest(event_id: str, row: int) -> "Hash":
    """Of the event and the row too, so that no two items share a digest in every list."""
    return sha256(f"{event_id}\x1f{row}\x1f".encode("utf-8", "surrogatepass"))


def _end_digest(begun: "Hash", item: str) -> bytes:
    whole = begun.copy()
    whole.update(item.encode("utf-8", "surrogatepass"))
    return whole.digest()[:ITEM_BYTES]


def _find(digests: bytes, wanted: bytes) -> int:
    """The place of a digest, -1 when it is not there."""
    at = digests.find(wanted)
    while at % ITEM_BYTES and at > 0:  # found across the border of two
        at = digests.find(wanted, at + 1)
    return at // ITEM_BYTES if at >= 0 else -1


def _raw(token: str) -> bytes:
    raw = b""
    if len(token) <= TEXT_LIMIT:
        with suppress(ValueError):
            raw = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    if len(raw) <= HEAD_BYTES + MAC_BYTES:
        raise TokenFault("forged", "this is no token; send it as the answer carried it")
    return raw


def _mac(keys: Keys, head: bytes, body: bytes) -> bytes:
    return hmac_digest(keys.signing, head + body, sha256)[:MAC_BYTES]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Sealed).decode
