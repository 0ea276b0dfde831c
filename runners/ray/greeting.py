"""How gateway and replica find out that they know the same secret, before the first request; nothing here does I/O
but reading the secret's file.

    replica ── HELLO version, nonce ──► gateway
            ◄─ AUTH  version, nonce, proof ──
            ── OK    proof, welcome ──►

A proof is an HMAC over both nonces, so it is worth nothing on another connection, and each side's begins with its own
word, so it cannot be sent back. It tells who is there and hides nothing: on a network that others share, use TLS too.
"""

import hmac
import os
import struct
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from runners.core.errors import LoadRefused
from runners.core.runner import Description
from runners.ray.frame import VERSION, Frame, FrameError

NONCE_BYTES = 32
PROOF_BYTES = 32
SECRET_BYTES_LEAST = 16
SECRET_BYTES_MOST = 4096
_HELLO = struct.Struct(f"<H{NONCE_BYTES}s")
_AUTH = struct.Struct(f"<H{NONCE_BYTES}s{PROOF_BYTES}s")
_LABEL = b"turnout hop "


class Refused(Exception):
    """The other side is not whom we want to talk to, and why."""


class Welcome(Struct, frozen=True):
    """What a replica says of itself: its name in the membership, and the model it has opened."""

    replica: str
    description: Description


class Secret:
    """The content of a secret's file, read anew when the file has changed, so that secrets can be replaced.

    A file may hold several, one a line: the first is shown, any is accepted.
    """

    def __init__(self, file: Path) -> None:
        """Blocks on the disk. Raises LoadRefused."""
        self._file = file
        self._stamp = (0, 0)
        self._keys = self._read()

    def keys(self) -> tuple[bytes, ...]:
        """One at least. A file that cannot be used leaves them as they were."""
        try:
            found = self._file.stat()
            if (found.st_mtime_ns, found.st_ino) != self._stamp:
                self._keys = self._read()
        except (OSError, LoadRefused):
            return self._keys
        return self._keys

    def _read(self) -> tuple[bytes, ...]:
        name = f"secret file {self._file.name}"
        try:
            with self._file.open("rb") as opened:
                found = os.fstat(opened.fileno())
                content = opened.read(SECRET_BYTES_MOST + 1)
        except OSError as error:
            raise LoadRefused(name, f"cannot be read: {error.strerror}") from None
        keys = tuple([line for line in map(bytes.strip, content.splitlines()) if line])
        if not keys or len(content) > SECRET_BYTES_MOST or min(map(len, keys)) < SECRET_BYTES_LEAST:
            cure = f"write {SECRET_BYTES_LEAST} bytes or more, as of `openssl rand -hex 32`"
            raise LoadRefused(name, "holds no secret that is long enough", cure)
        self._stamp = (found.st_mtime_ns, found.st_ino)
        return keys


def nonce() -> bytes:
    return os.urandom(NONCE_BYTES)


def hello(theirs: bytes) -> bytes:
    return _HELLO.pack(VERSION, theirs)


def read_hello(received: Frame) -> bytes:
    """The replica's nonce. Raises Refused for another version, FrameError."""
    version, theirs = _unpacked(_HELLO, received)
    _check_version(version, "the replica")
    return bytes(theirs)


def auth(key: bytes, theirs: bytes, ours: bytes) -> bytes:
    return _AUTH.pack(VERSION, ours, _proof(key, b"gateway", theirs, ours))


def read_auth(received: Frame, keys: tuple[bytes, ...], nonce_: bytes) -> tuple[bytes, bytes]:
    """The gateway's nonce, and the key it knows. Raises Refused, FrameError."""
    version, theirs, proof = _unpacked(_AUTH, received)
    _check_version(version, "the gateway")
    known = [key for key in keys if hmac.compare_digest(proof, _proof(key, b"gateway", nonce_, theirs))]
    if not known:
        raise Refused("the gateway does not know the replica's secret")
    return theirs, known[0]


def ok(key: bytes, nonce_: bytes, theirs: bytes, welcome: Welcome) -> bytes:
    return b"".join((_proof(key, b"replica", nonce_, theirs), msgspec.json.encode(welcome)))


def read_ok(received: Frame, key: bytes, theirs: bytes, ours: bytes) -> Welcome:
    """Raises Refused for one who does not know the secret, FrameError."""
    payload = bytes(received.payload)
    if not hmac.compare_digest(payload[:PROOF_BYTES], _proof(key, b"replica", theirs, ours)):
        raise Refused("the replica does not know the gateway's secret")
    try:
        return msgspec.json.decode(payload[PROOF_BYTES:], type=Welcome)
    except msgspec.DecodeError as error:
        raise FrameError(f"a welcome that cannot be read: {error}") from None


def _proof(key: bytes, who: bytes, replicas: bytes, gateways: bytes) -> bytes:
    return hmac.digest(key, _LABEL + who + replicas + gateways, "sha256")


def _check_version(version: int, who: str) -> None:
    if version != VERSION:
        raise Refused(f"{who} speaks version {version} of the hop, this side {VERSION}")


def _unpacked(layout: struct.Struct, received: Frame) -> tuple[Any, ...]:
    try:
        return layout.unpack(received.payload)
    except struct.error:
        raise FrameError(f"a greeting of {len(received.payload)} bytes, {layout.size} are taken") from None
