"""Where a remote server is: the one URL that an operator writes, taken apart."""

from urllib.parse import quote, urlsplit

from msgspec import Struct

SCHEMES = ("grpc", "grpcs", "http", "https")


class Address(Struct, frozen=True):
    """A server that speaks the protocol. `path` is what stands before /v2, "" for nothing; gRPC has none."""

    host: str
    port: int
    is_grpc: bool
    is_secure: bool
    path: str = ""

    @property
    def authority(self) -> str:
        """Host and port as a header or gRPC's target has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def read_url(url: str) -> Address:
    """The address that `url` is. Raises ValueError, whose text says what is wrong and never repeats a password."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"its scheme is none of {', '.join(SCHEMES)}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it holds a name or password; use token_file, which is read from disk and never shown")
    if not parts.hostname or not (parts.hostname.isascii() and parts.hostname.isprintable()) or " " in url:
        raise ValueError("it names no host")
    if parts.query or parts.fragment:
        raise ValueError("it may not hold ? or #")
    is_grpc = parts.scheme.startswith("grpc")
    path = parts.path.rstrip("/")
    if is_grpc and path:
        raise ValueError("gRPC has no paths")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port is none") from None
    if not port and is_grpc:
        raise ValueError("it names no port; gRPC servers often have 8001")
    is_secure = parts.scheme.endswith("s")
    return Address(parts.hostname, port or (443 if is_secure else 80), is_grpc, is_secure, quote(path, safe="/%"))


def read_reference(reference: str) -> tuple[str, str]:
    """Model and version of `remote:MODEL[:VERSION]`, the version "" if there is none. Raises ValueError."""
    scheme, _, rest = reference.partition(":")
    model, colon, version = rest.partition(":")
    if scheme != "remote" or not model or (colon and not version) or ":" in version or not rest.isprintable():
        raise ValueError("it is not remote:MODEL or remote:MODEL:VERSION")
    return model, version
