"""Tokens: recognised by their secret alone, two valid at a time, gone when revoked or expired."""

import pytest
from sqlalchemy import Engine, text

from gateway.state.audit import AuditLog
from gateway.state.errors import TokenRefused
from gateway.state.tokens import TokenRole, Tokens


@pytest.fixture
def tokens(engine: Engine) -> Tokens:
    return Tokens(engine)


def create(tokens: Tokens, name: str = "ci", now: float = 0.0) -> tuple[str, str]:
    token, secret = tokens.create(name, TokenRole.OPERATE, lifetime_s=100.0, author="ann", now=now)
    return token.id, secret


def test_a_secret_is_recognised_until_it_expires(tokens: Tokens) -> None:
    """A token that was lent for a while ends by itself."""
    token_id, secret = create(tokens)
    found = tokens.recognise(secret, now=99.0)
    assert found is not None
    assert (token_id, "ci", TokenRole.OPERATE) == (found.id, found.name, found.role)
    assert None is tokens.recognise(secret, now=100.0)


@pytest.mark.parametrize("secret", ["", "turnout_", "turnout_wrong", "\ud800", "x" * 10_000])
def test_any_other_secret_is_nobodys(tokens: Tokens, secret: str) -> None:
    create(tokens)
    assert None is tokens.recognise(secret, now=1.0)


def test_a_revoked_token_ends_at_once(tokens: Tokens) -> None:
    """A secret that leaked is of no use a moment later."""
    token_id, secret = create(tokens)
    tokens.revoke(token_id, author="ann", now=1.0)
    assert None is tokens.recognise(secret, now=1.0)
    with pytest.raises(TokenRefused, match="no token"):
        tokens.revoke(token_id, author="ann", now=2.0)


def test_a_name_has_two_valid_tokens_so_that_one_can_replace_the_other(tokens: Tokens) -> None:
    """Rotation needs no gap: make the second, roll it out, revoke the first."""
    first, _ = create(tokens)
    create(tokens)
    with pytest.raises(TokenRefused, match=f"2 valid tokens.*{first}"):
        create(tokens)
    create(tokens, name="somebody else")
    tokens.revoke(first, author="ann", now=1.0)
    create(tokens)


def test_no_secret_is_stored(tokens: Tokens, engine: Engine) -> None:
    """Whoever reads the database cannot operate with what is in it."""
    _, secret = create(tokens)
    with engine.connect() as connection:
        queries = [text("SELECT * FROM token"), text("SELECT * FROM audit")]
        stored = [str(tuple(row)) for query in queries for row in connection.execute(query)]
    assert [] == [row for row in stored if secret.removeprefix("turnout_") in row]


def test_making_and_revoking_are_in_the_audit_log(tokens: Tokens, engine: Engine) -> None:
    token_id, _ = create(tokens)
    tokens.revoke(token_id, author="bob", now=1.0)
    deeds = [(entry.deed.author, entry.deed.action) for entry in AuditLog(engine).entries()]
    assert [("bob", "token.revoke"), ("ann", "token.create")] == deeds
