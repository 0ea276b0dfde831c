"""Tokens: short, signed, and good for nothing but crediting clicks on the lists they were made for."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from gateway.feedback.keys import hide_unit, keys_of
from gateway.feedback.token import PLACES_LIMIT, Origin, Sealed, TokenFault, click_of, seal, unseal

KEYS = keys_of(b"k" * 32)
RANKERS = ("steady", "fresh")
ONE, NONE = Fraction(1), Fraction(0)
STEADY, FRESH, NOBODY = (ONE, NONE), (NONE, ONE), ()
ORIGIN = Origin("00c0ffee00c0ffee000000000001", "shop", "shop@3", hide_unit(KEYS, "account-1"), 1000.0)


class Shown(Struct, frozen=True):
    row: int
    items: tuple[str, ...]
    rankers: tuple[str, ...]
    shares: tuple[tuple[Fraction, ...], ...]


LIST = Shown(0, ("a", "b", "c"), RANKERS, (NOBODY, FRESH, STEADY))


def opened(token: str, now: float = 1001.0) -> Sealed:
    return unseal(KEYS, token, now=now, window_s=1800.0)


def fault(token: str, now: float = 1001.0) -> str:
    with pytest.raises(TokenFault) as caught:
        opened(token, now)
    return caught.value.code


def test_a_token_credits_the_team_that_put_the_item_there() -> None:
    sealed = opened(seal(KEYS, ORIGIN, (LIST,)))
    assert ("shop", "shop@3", 1000.0) == (sealed.route, sealed.experiment, sealed.shown_at)
    clicks = [click_of(sealed, 0, item) for item in "abc"]
    assert [(0, ()), (1, (0, 1_000_000)), (2, (1_000_000, 0))] == [(click.place, click.credits) for click in clicks]
    assert {RANKERS} == {click.rankers for click in clicks}


def test_an_item_that_was_not_shown_is_unknown() -> None:
    sealed = opened(seal(KEYS, ORIGIN, (LIST,)))
    assert None is click_of(sealed, 0, "d")
    assert None is click_of(sealed, 1, "a")


def test_shared_places_are_credited_in_parts() -> None:
    shares = ((Fraction(27, 28), Fraction(1, 28)), NOBODY)
    sealed = opened(seal(KEYS, ORIGIN, (Shown(0, ("a", "b"), RANKERS, shares),)))
    assert (964_286, 35_714) == click_of(sealed, 0, "a").credits
    assert () == click_of(sealed, 0, "b").credits


def test_every_row_of_a_batch_has_its_own_credit() -> None:
    other = Shown(1, ("a", "b"), RANKERS, (STEADY, FRESH))
    sealed = opened(seal(KEYS, ORIGIN, (LIST, other)))
    assert ((), (1_000_000, 0)) == (click_of(sealed, 0, "a").credits, click_of(sealed, 1, "a").credits)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_of_a_token_can_be_changed(at: int, bit: int) -> None:
    """Whoever changes a team, a time or an item is told so, and nothing counts."""
    raw = bytearray(urlsafe_b64decode(padded(seal(KEYS, ORIGIN, (LIST,)))))
    raw[at % len(raw)] ^= 1 << bit
    code = fault(urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode())
    assert ("foreign" if at % len(raw) < 5 else "forged") == code


def padded(token: str) -> str:
    return token + "=" * (-len(token) % 4)


@given(st.text(max_size=200))
def test_text_that_is_no_token_is_forged_or_foreign(text: str) -> None:
    assert fault(text) in ("forged", "foreign")


def test_a_token_of_another_key_is_foreign() -> None:
    """Another installation's token is no attack, and is told apart from one."""
    assert "foreign" == fault(seal(keys_of(b"o" * 32), ORIGIN, (LIST,)))


def test_a_token_is_late_after_its_window() -> None:
    token = seal(KEYS, ORIGIN, (LIST,))
    opened(token, now=2800.0)
    assert "late" == fault(token, now=2800.1)


def test_a_list_of_ten_makes_a_short_token() -> None:
    """It travels with every answer."""
    ten = Shown(0, tuple(f"a-rather-long-id-of-an-item-{n}" for n in range(10)), RANKERS, (STEADY, FRESH) * 5)
    assert len(seal(KEYS, ORIGIN, (ten,))) < 250


def test_a_token_is_bounded_however_large_the_batch() -> None:
    """Rows that find no room carry no credit."""
    rows = tuple(Shown(row, tuple(map(str, range(100))), RANKERS, (STEADY,) * 100) for row in range(1000))
    token = seal(KEYS, ORIGIN, rows)
    sealed = opened(token)
    assert PLACES_LIMIT // 100 == len(sealed.rows)
    assert len(token) < 10 * PLACES_LIMIT
    assert None is click_of(sealed, 999, "5")


@given(st.lists(st.text(max_size=8), min_size=1, max_size=60, unique=True))
def test_every_item_is_found_where_it_was_shown(items: list[str]) -> None:
    """Whatever the items are called: digests are looked for whole, not across their borders."""
    sealed = opened(seal(KEYS, ORIGIN, (Shown(0, tuple(items), RANKERS, (STEADY,) * len(items)),)))
    assert list(range(len(items))) == [click_of(sealed, 0, item).place for item in items]


@given(st.lists(st.sampled_from([STEADY, FRESH, NOBODY]), min_size=8, max_size=40))
def test_nobody_can_read_in_a_token_whose_an_item_is(shares: list[tuple[Fraction, ...]]) -> None:
    """A reader who could would not choose blind. The gateway can."""
    shown = Shown(0, tuple(map(str, range(len(shares)))), RANKERS, tuple(shares))
    token = seal(KEYS, ORIGIN, (shown, Shown(1, *shown_fields(shown))))
    teams = bytes([255 if not each else each.index(1) for each in shares])
    raw = urlsafe_b64decode(padded(token))
    body = msgspec.msgpack.decode(raw[21:], type=Sealed)
    assert teams not in [row.teams for row in body.rows]
    assert body.rows[0].teams != body.rows[1].teams
    assert [teams, teams] == [row.teams for row in opened(token).rows]


def shown_fields(shown: Shown) -> tuple[object, ...]:
    return shown.items, shown.rankers, shown.shares


def test_a_token_tells_no_unit_and_units_stay_apart() -> None:
    token = seal(KEYS, ORIGIN, (LIST,))
    assert b"account-1" not in urlsafe_b64decode(padded(token))
    assert hide_unit(KEYS, "account-1") != hide_unit(KEYS, "account-2")
    assert hide_unit(KEYS, "account-1") != hide_unit(keys_of(b"o" * 32), "account-1")
    assert "" == hide_unit(KEYS, "")
