"""One event, one line of JSON, whatever its strings contain; and the keyed hash that stands for a unit.

A line holds no raw newline, no control character of ASCII or C1 and no Unicode line separator, so that a client's id
can neither split a record nor drive the terminal of whoever reads it.
"""

import re
from hashlib import blake2b

import msgspec

from observability.event import Identity, RequestEvent, ShadowEvent, WideEvent

DIGEST_BYTES = 16  # 128 bits: no two units of one installation will ever meet by chance


def hash_unit(unit: str, key: bytes) -> str:
    """The name under which `unit` appears in events: keyed BLAKE2b in 32 hex digits.

    Without the key nobody can test guesses of an account number against the log. Text that came from bytes which were
    no UTF-8 is hashed as those bytes.
    """
    return blake2b(_bytes_of(unit), key=key, digest_size=DIGEST_BYTES).hexdigest()


class LineEncoder:
    """Turns events into lines: hashes the unit, appends who writes, escapes what would break a line."""

    def __init__(self, identity: Identity, key: bytes) -> None:
        """`key` is 32 to 64 bytes, see observability/sinks/key.py."""
        self._key = key
        self._encoder = msgspec.json.Encoder()
        self._stamp = b"," + self._encode(identity)[1:] + b"\n"

    def line(self, event: WideEvent) -> bytes:
        """The event as one line, its newline included."""
        if isinstance(event, RequestEvent | ShadowEvent) and event.unit_hash:
            event = msgspec.structs.replace(event, unit_hash=hash_unit(event.unit_hash, self._key))
        encoded = self._encode(event)
        if not encoded.isascii() or b"\x7f" in encoded:
            encoded = _LINE_BREAKERS.sub(_escape, encoded.decode()).encode()
        return encoded[:-1] + self._stamp

    def _encode(self, value: WideEvent | Identity) -> bytes:
        try:
            return self._encoder.encode(value)
        except UnicodeEncodeError:
            return self._encoder.encode(_without_surrogates(msgspec.to_builtins(value)))


# JSON escapes the controls of ASCII; these are legal in JSON text, yet end a line or start a terminal sequence.
_LINE_BREAKERS = re.compile("[\x7f-\x9f\u2028\u2029]")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _without_surrogates(value: object) -> object:
    """The same value with each lone surrogate spelled out as an escape, since UTF-8 has no bytes for it."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
        case list() | tuple():
            return [_without_surrogates(item) for item in value]
        case _:
            return value


def _bytes_of(unit: str) -> bytes:
    try:
        return unit.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that never stood for a byte
        return unit.encode("utf-8", "surrogatepass")
