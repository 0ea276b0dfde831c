"""What a remote server is shown, and what it has to show: a token, certificates, an authority to trust."""

import logging
import ssl
from pathlib import Path

import grpc

from runners.core.errors import LoadRefused
from runners.core.runner import RemoteServer

_TOKEN_BYTES = 16 << 10
_LOG = logging.getLogger("turnout.remote")


class Token:
    """The content of a token file, kept up to date. Nothing of it ever stands in a log or an error."""

    def __init__(self, file: Path | None) -> None:
        """Blocks on the disk. Raises LoadRefused."""
        self._file = file
        self.bearer = ""  # the value of an authorization header, "" without a file
        if file is not None:
            self.bearer = _bearer(file)

    def refresh(self) -> None:
        """Read the file anew. Blocks on the disk. A file that cannot be used leaves the token as it was."""
        if self._file is None:
            return
        try:
            self.bearer = _bearer(self._file)
        except LoadRefused as refused:
            _LOG.warning("the token stays as it was: %s", refused)


def ssl_context(server: RemoteServer) -> ssl.SSLContext:
    """For HTTP. Blocks on the disk. Raises LoadRefused."""
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if server.cert_file:
            context.load_cert_chain(server.cert_file, server.key_file)
    except (OSError, ssl.SSLError) as error:
        raise LoadRefused("tls", f"its files cannot be used: {error}") from None
    return context


def channel_credentials(server: RemoteServer) -> grpc.ChannelCredentials:
    """For gRPC. Blocks on the disk. Raises LoadRefused."""
    try:
        ca, key, cert = (
            file.read_bytes() if file else None for file in (server.ca_file, server.key_file, server.cert_file)
        )
    except OSError as error:
        raise LoadRefused("tls", f"its files cannot be read: {error}") from None
    return grpc.ssl_channel_credentials(ca, key, cert)


def _bearer(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_TOKEN_BYTES + 1)
    except OSError as error:
        raise LoadRefused(f"token file {file.name}", f"cannot be read: {error.strerror}") from None
    token = content.strip()
    if not token or len(content) > _TOKEN_BYTES or not all(0x21 <= byte <= 0x7E for byte in token):
        raise LoadRefused(f"token file {file.name}", "holds no token", "write it as one word of printable ASCII")
    return f"Bearer {token.decode('ascii')}"
