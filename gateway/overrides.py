"""Override tokens: who has one may force one arm of one route until it expires. Signed, so that nothing is stored.

The form is EXPIRES.SIGNATURE: Unix seconds, and HMAC-SHA256 in hex over route 0x1F arm 0x1F EXPIRES, keyed by the
content of the gateway's override token file. That content itself forces any arm of any route, for ever.
"""

from hashlib import sha256
from hmac import compare_digest, digest

LENGTH_LIMIT = 128  # bytes of a token; one of ours takes 75


def sign(secret: bytes, route: str, arm: str, expires_at: int) -> str:
    """A token for `arm` of `route` until `expires_at`, in Unix seconds."""
    return f"{expires_at}.{_signature(secret, route, arm, str(expires_at).encode()).hex()}"


def may_force(secret: bytes, route: str, arm: str, token: bytes, now: float) -> bool:
    """Whether a token forces that arm of that route at that time (Unix seconds). Without a secret nothing does."""
    if not secret or len(token) > LENGTH_LIMIT:
        return False
    if compare_digest(token, secret):
        return True
    expires_at, _, signature = token.partition(b".")
    if not expires_at.isdigit() or now >= int(expires_at):
        return False
    return compare_digest(signature, _signature(secret, route, arm, expires_at).hex().encode())


def _signature(secret: bytes, route: str, arm: str, expires_at: bytes) -> bytes:
    return digest(secret, b"\x1f".join((route.encode(), arm.encode(), expires_at)), sha256)
