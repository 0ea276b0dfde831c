"""Who asks, and whether they may: tokens where there are any, nobody but this machine where there are none."""

from collections.abc import Callable
from ipaddress import ip_address
from threading import Lock
from time import time

from msgspec import Struct

from gateway.state.audit import REFUSED, Deed
from gateway.state.errors import StateError
from gateway.state.shelf import Shelf
from gateway.state.tokens import Token, TokenRole

INCLUDED = {
    TokenRole.INFER: {TokenRole.INFER},
    TokenRole.OBSERVE: {TokenRole.OBSERVE},
    TokenRole.OPERATE: {TokenRole.OBSERVE, TokenRole.OPERATE},
    TokenRole.APPROVE: {TokenRole.OBSERVE, TokenRole.APPROVE},
}
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
NAME_LIMIT, ACTION_LIMIT = 200, 200  # characters
MINUTE_S = 60.0
DENIALS_N = 60  # the log is kept for ever, and strangers must not fill it


class Caller(Struct, frozen=True):
    """Who asks, as the history will call them."""

    author: str


class Denied(Exception):
    """They may not. `status` is 401 for who is not known, 403 for who is."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Callers:
    """Admits or denies. Blocks for the time of a query."""

    def __init__(self, shelf: Shelf, clock: Callable[[], float] = time) -> None:
        self._shelf = shelf
        self._clock = clock
        self._lock = Lock()
        self._minute_at, self._denied_n = 0.0, 0

    def admit(self, authorization: str, said: str, role: TokenRole, action: str) -> Caller:
        """The caller behind an Authorization header, for something that takes `role`.

        While the state never had a token, everybody on this machine is admitted, under the name they say (`said`),
        which is marked as unproven. Raises Denied, which is written down, or StateError.
        """
        now = self._clock()
        kind, _, secret = authorization.partition(" ")
        if not authorization and not self._shelf.tokens().all():
            return Caller(f"{_legible(said)[:NAME_LIMIT] or 'somebody'} (unproven)")
        token = self._shelf.tokens().recognise(secret.strip(), now=now) if kind.lower() == "bearer" else None
        if token is None:
            raise self._deny("somebody", 401, "a valid token is needed: Authorization: Bearer TOKEN", action)
        if role not in INCLUDED[token.role]:
            raise self._deny(token.name, 403, f"this takes the role {role}, the token has {token.role}", action)
        return Caller(token.name)

    def _deny(self, author: str, status: int, why: str, action: str) -> Denied:
        """Write down who was refused, but no more in a minute than somebody would read."""
        now = self._clock()
        with self._lock:
            if now - self._minute_at >= MINUTE_S:
                self._minute_at, self._denied_n = now, 0
            self._denied_n += 1
            is_told = self._denied_n <= DENIALS_N
        if is_told:
            more = "; further refusals in this minute are not written down" if self._denied_n == DENIALS_N else ""
            asked = _legible(action)[:ACTION_LIMIT]
            self._shelf.audit().record(Deed(author, asked, REFUSED, why + more), at=now)
        return Denied(status, why)


def _legible(text: str) -> str:
    """Without what would make another line of a log, or none that can be stored."""
    return "".join(letter for letter in text if letter.isprintable())


def exposure_problem(host: str, *, has_tls: bool, shelf: Shelf) -> str:
    """Why the operator's side must not listen on `host`, "" if it may: beyond this machine it takes TLS and a token."""
    if is_local(host):
        return ""
    missing = [] if has_tls else ["tls: with a certificate"]
    try:
        known: tuple[Token, ...] = shelf.tokens().all()
    except StateError:
        known = ()
    if not any(token.is_valid(time()) for token in known):
        missing.append("a token: turnout token create NAME --role operate")
    what = f"the admin address {host} can be reached from other machines, which takes {' and '.join(missing)}"
    return what if missing else ""


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(header: str) -> str:
    """The name in a Host header, without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0] if name.count(":") <= 1 else name
