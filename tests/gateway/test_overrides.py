"""A token is good for one arm of one route until its time is over, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.overrides import may_force, sign

SECRET = b"0123456789abcdef"
NOW = 1_795_651_200.0
TOKEN = sign(SECRET, "digits", "new", int(NOW) + 60).encode()


def asked(token: bytes = TOKEN, *, secret: bytes = SECRET, route="digits", arm="new", now: float = NOW) -> bool:
    return may_force(secret, route, arm, token, now)


def test_a_token_forces_its_arm():
    assert asked()


@pytest.mark.parametrize(
    "other",
    [{"route": "cats"}, {"arm": "old"}, {"now": NOW + 60}, {"secret": b"fedcba9876543210"}, {"secret": b""}],
)
def test_it_is_good_for_nothing_else(other):
    assert not asked(**other)


def test_a_route_and_an_arm_cannot_trade_letters():
    assert not asked(sign(SECRET, "digi", "tsnew", int(NOW) + 60).encode())


def test_a_later_end_is_another_signature():
    assert not asked(TOKEN.replace(str(int(NOW) + 60).encode(), str(int(NOW) + 61).encode()))


def test_the_secret_itself_is_good_for_all():
    assert asked(SECRET, arm="old", now=NOW * 2)


def test_without_a_secret_nothing_is_good():
    assert not asked(b"", secret=b"")


@given(st.binary(max_size=300))
def test_whatever_is_sent_is_judged(token):
    assert not asked(token) or token in (TOKEN, SECRET)


@pytest.mark.parametrize("token", [b"9" * 100 + b".aa", b".aa", b"1e9.aa", "\u0663.aa".encode(), TOKEN + b"0" * 100])
def test_a_token_of_another_form_is_refused(token):
    assert not asked(token)
