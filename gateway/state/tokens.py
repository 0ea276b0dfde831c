"""Tokens: who may use the operator's side, and for what. Only their SHA-256 is kept.

A secret is 256 random bits, so a plain digest is as good as a slow one: there is nothing to guess. Each name has at
most two valid tokens, the one in use and the one that will replace it.
"""

import secrets
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest

from msgspec import Struct
from sqlalchemy import Connection, Engine, insert, select, update

from gateway.state.audit import Deed, chain
from gateway.state.database import reading, writing
from gateway.state.errors import TokenRefused
from gateway.state.schema import token as table

PREFIX = "turnout_"  # so that a scanner for leaked secrets can know one
VALID_N = 2


class TokenRole(StrEnum):
    """What a token is good for. Each but `infer` includes what `observe` may."""

    INFER = "infer"
    OBSERVE = "observe"
    OPERATE = "operate"
    APPROVE = "approve"


class Token(Struct, frozen=True):
    """A token without its secret. Times are Unix seconds; `revoked_at` is 0 while it is not."""

    id: str
    name: str
    role: TokenRole
    created_at: float
    expires_at: float
    revoked_at: float = 0.0

    def is_valid(self, now: float) -> bool:
        return not self.revoked_at and now < self.expires_at


class Tokens:
    """Makes, revokes and recognises tokens. Raises StateUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, name: str, role: TokenRole, *, lifetime_s: float, author: str, now: float) -> tuple[Token, str]:
        """A new token and its secret, which is told this once. Raises TokenRefused."""
        if not name or lifetime_s <= 0:
            raise TokenRefused("a token needs a name and a lifetime above zero")
        token = Token(secrets.token_hex(4), name, role, now, now + lifetime_s)
        secret = PREFIX + secrets.token_urlsafe(32)
        with writing(self._engine) as connection:
            valid = [other for other, _ in _stored(connection) if other.name == name and other.is_valid(now)]
            if len(valid) >= VALID_N:
                known = " and ".join(f"{other.id}" for other in valid)
                raise TokenRefused(f"'{name}' has {VALID_N} valid tokens, {known}; revoke one of them first")
            connection.execute(
                insert(table).values(
                    id=token.id,
                    name=name,
                    role=role.value,
                    secret_digest=_digest(secret),
                    created_at=now,
                    expires_at=token.expires_at,
                )
            )
            chain(connection, Deed(author, "token.create", detail=f"{token.id} '{name}' {role}"), at=now)
        return token, secret

    def revoke(self, token_id: str, *, author: str, now: float) -> Token:
        """End a token at once. Raises TokenRefused for one that does not exist or has ended."""
        with writing(self._engine) as connection:
            found = next((token for token, _ in _stored(connection) if token.id == token_id), None)
            if found is None or found.revoked_at:
                raise TokenRefused(f"there is no token '{token_id}' to revoke; list them with: turnout token list")
            connection.execute(update(table).where(table.c.id == token_id).values(revoked_at=now))
            chain(connection, Deed(author, "token.revoke", detail=f"{token_id} '{found.name}'"), at=now)
        return Token(found.id, found.name, found.role, found.created_at, found.expires_at, now)

    def all(self) -> tuple[Token, ...]:
        """Every token there was, the oldest first."""
        with reading(self._engine) as connection:
            return tuple(token for token, _ in _stored(connection))

    def recognise(self, secret: str, *, now: float) -> Token | None:
        """The valid token of that secret, None if there is none. Takes as long whichever it is."""
        wanted, found = _digest(secret), None
        with reading(self._engine) as connection:
            for token, digest in _stored(connection):
                if compare_digest(wanted, digest) and token.is_valid(now):
                    found = token
        return found


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _stored(connection: Connection) -> list[tuple[Token, str]]:
    rows = connection.execute(select(table).order_by(table.c.created_at, table.c.id))
    return [
        (
            Token(row.id, row.name, TokenRole(row.role), row.created_at, row.expires_at, row.revoked_at or 0.0),
            row.secret_digest,
        )
        for row in rows
    ]
