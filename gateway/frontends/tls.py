"""TLS on both ports: reads certificate, key and client CA, and follows their files while connections come and go.

The three are taken together or not at all, from bytes read once, so that a pair caught half written never goes live.
A connection keeps what its handshake was made with; the next one gets what is live by then.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import time
from typing import NoReturn

from msgspec import Struct

from observability.event import LifeEvent
from observability.metrics import CertificateCounts
from strategies.core.spec import Problem

POLL_S = 2.0
HTTP, GRPC = "http/1.1", "h2"  # what the ports speak, as ALPN calls it
FILE_LIMIT = 1 << 20  # bytes; a chain of certificates takes a few thousand
LOG = logging.getLogger("turnout.tls")
Report = Callable[[LifeEvent], None]


class TlsFiles(Struct, frozen=True):
    """Where the PEM files are. With `client_ca` a client must show a certificate that it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class TlsRefused(Exception):
    """Files that cannot be used; a problem's path is the word in `tls:` that names the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.what for problem in problems))


class Pems(Struct, frozen=True):
    """What the files held at one moment; `client_ca` is empty where clients need no certificate."""

    cert: bytes
    key: bytes
    client_ca: bytes


class Certificates:
    """What both ports show, and whom they admit. Handed out once, it follows the files."""

    def __init__(self, files: TlsFiles, log: logging.Logger = LOG) -> None:
        """Raises TlsRefused."""
        self._files = files
        self._log = log
        self._pems = _read(files)
        self._contexts = _contexts_of(self._pems)
        self._refused = ""
        self.counts = CertificateCounts(0, 0)

    def http_context(self) -> ssl.SSLContext:
        """For the HTTP server."""
        return self._door(HTTP)

    def grpc_context(self) -> ssl.SSLContext:
        """For the gRPC server."""
        return self._door(GRPC)

    async def watch(self, report: Report) -> None:
        """Follow the files until cancelled. What cannot be used is reported once; the old stays in use."""
        while True:
            await asyncio.sleep(POLL_S)
            event = await asyncio.to_thread(self.refresh)
            if event is not None:
                report(event)

    def refresh(self) -> LifeEvent | None:
        """Look at the files once. Returns what there is to tell, None when nothing is new."""
        try:
            pems = _read(self._files)
            if pems == self._pems:
                self._refused = ""
                return None
            contexts = _contexts_of(pems)
        except TlsRefused as refused:
            return self._keep(str(refused))
        self._contexts, self._pems, self._refused = contexts, pems, ""
        self.counts = CertificateCounts(self.counts.loaded_n + 1, self.counts.refused_n)
        self._log.info("new certificates are in use: %s", self._files.cert)
        return _event("certificates_loaded", str(self._files.cert))

    def _door(self, speaks: str) -> ssl.SSLContext:
        """A context that hands every handshake over to the one that is live when it begins.

        A new context each time, rather than a new chain in the old one, because a CA can be added to a context but
        never taken away. For the same reason nobody who had to show a certificate gets a ticket to come back without.
        """
        context = _context_of(self._pems, speaks)

        def hand_over(handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            handshake.context = self._contexts[speaks]

        context.sni_callback = hand_over  # called with or without a name
        if self._pems.client_ca:
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        return context

    def _keep(self, why: str) -> LifeEvent | None:
        if why == self._refused:
            return None
        self._refused = why
        self.counts = CertificateCounts(self.counts.loaded_n, self.counts.refused_n + 1)
        self._log.error("the certificates in use stay: %s", why)
        return _event("certificates_refused", why)


def _read(files: TlsFiles) -> Pems:
    problems: list[Problem] = []
    cert = _content(files.cert, "cert_file", b"CERTIFICATE", problems)
    key = _content(files.key, "key_file", b"PRIVATE KEY", problems)
    client_ca = _content(files.client_ca, "client_ca_file", b"CERTIFICATE", problems) if files.client_ca else b""
    if problems:
        raise TlsRefused(problems)
    return Pems(cert, key, client_ca)


def _content(file: Path, word: str, kind: bytes, problems: list[Problem]) -> bytes:
    """The file's bytes, empty with one more problem if they are no PEM of that kind."""
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_LIMIT + 1)
    except OSError as error:
        cure = "name a PEM file that the gateway's user can read, relative to the config directory"
        problems.append(Problem((word,), f"{file} cannot be read: {error.strerror}", cure))
        return b""
    if len(content) > FILE_LIMIT:
        problems.append(Problem((word,), f"{file} has more than {FILE_LIMIT} bytes", "name the PEM file alone"))
    elif kind + b"-----" not in content or not content.isascii():
        cure = f"name a PEM file with BEGIN {kind.decode()} in it"
        problems.append(Problem((word,), f"{file} holds no {kind.decode().lower()}", cure))
    return content


def _context_of(pems: Pems, speaks: str) -> ssl.SSLContext:
    """`speaks` is the one protocol in ALPN. Raises TlsRefused for what OpenSSL does not take."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # the least that HTTP/2 allows
    context.set_alpn_protocols([speaks])
    with ExitStack() as stack:
        cert, key = (stack.enter_context(_in_memory(content)) for content in (pems.cert, pems.key))
        try:
            context.load_cert_chain(cert, key, _refuse_encrypted)
        except ssl.SSLError as error:
            raise _pair_refused(error) from None
    if pems.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=pems.client_ca.decode("ascii"))
        except ssl.SSLError as error:
            cure = "name a PEM file of the certificates that sign those of clients"
            raise _refused("client_ca_file", f"the client CA cannot be used: {error.reason}", cure) from None
    return context


def _pair_refused(error: ssl.SSLError) -> TlsRefused:
    if error.reason == "KEY_VALUES_MISMATCH":
        cure = "put the key that the certificate was made for, and the server's own certificate first in its file"
        return _refused("key_file", "the key does not belong to the certificate", cure)
    cure = "look at both with: openssl x509 -noout -text -in CERT; openssl pkey -noout -check -in KEY"
    return _refused("cert_file", f"certificate and key cannot be used: {error.reason or 'not valid PEM'}", cure)


def _refuse_encrypted() -> NoReturn:
    cure = "store it without one, readable by the gateway's user alone: openssl pkey -in KEY -out NEW"
    raise _refused("key_file", "the key is encrypted, and there is nobody to ask for its password", cure)


def _refused(word: str, what: str, cure: str) -> TlsRefused:
    return TlsRefused([Problem((word,), what, cure)])


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path to a file that is on no disk: OpenSSL reads by path, and the file itself may change between two looks."""
    with os.fdopen(os.memfd_create("turnout-tls"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _contexts_of(pems: Pems) -> dict[str, ssl.SSLContext]:
    return {speaks: _context_of(pems, speaks) for speaks in (HTTP, GRPC)}


def _event(kind: str, message: str) -> LifeEvent:
    return LifeEvent(time(), kind, "", "", message)
