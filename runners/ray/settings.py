"""How the two sides of the hop are set up: what a replica listens on, how a gateway paces itself, TLS for both."""

import ssl
from pathlib import Path

from msgspec import Struct

from runners.core.errors import LoadRefused

TLS_NAME = "turnout-hop"  # what a replica's certificate must be for: its address is nobody's to know beforehand


class Tls(Struct, frozen=True):
    """Files of one side, PEM. A replica needs `cert` and `key`, and asks for the gateway's certificate if given `ca`;
    a gateway needs `ca`, which signed the replicas' certificates, and shows `cert` if it has one.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    name: str = TLS_NAME


class Listen(Struct, frozen=True):
    """What a replica listens on: a socket file, one address of one machine, or both; port 0 takes a free one.

    `calls_n` bounds the calls under way, `strangers_n` the connections that have not shown the secret, each of which is
    cut after `greeting_s`.
    """

    replica: str
    secret: Path
    unix: str = ""
    host: str = ""
    port: int = 0
    tls: Tls | None = None
    calls_n: int = 1024
    strangers_n: int = 64
    greeting_s: float = 2.0


class Pace(Struct, frozen=True):
    """Seconds: between pings; of silence, then of waiting for a greeting, that mean a replica is lost; between
    attempts to connect, doubled from the first to the last.
    """

    ping_s: float = 0.25
    silent_s: float = 1.0
    greeting_s: float = 1.0
    retry_s: float = 0.05
    retry_most_s: float = 2.0


DEFAULT_PACE = Pace()


class Dial(Struct, frozen=True):
    """How a gateway reaches replicas. `repeatable`: a call that was lost with its replica may be asked once more,
    because what answers it changes nothing.
    """

    secret: Path
    tls: Tls | None = None
    pace: Pace = DEFAULT_PACE
    repeatable: bool = True


def server_context(tls: Tls) -> ssl.SSLContext:
    """Blocks on the disk. Raises LoadRefused."""
    if tls.cert is None:
        raise LoadRefused("tls", "a replica has no certificate", "give cert and key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(tls.cert, tls.key)
        if tls.ca is not None:
            context.load_verify_locations(tls.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise _unusable(tls, error) from None
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """Blocks on the disk. Raises LoadRefused."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(tls, error) from None
    return context


def _unusable(tls: Tls, error: OSError) -> LoadRefused:
    """Neither the system nor OpenSSL says which file it was."""
    named = ", ".join(str(file) for file in (tls.ca, tls.cert, tls.key) if file is not None)
    return LoadRefused("tls", f"{named}: these files cannot be used: {error}")
